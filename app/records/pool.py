"""Validators in waiting: one is always started before it is needed, so that a small upload is judged at once.

A validator judges one file and ends. Its death is the file's doing (InvalidDataset) once it was ready for the file,
and ours (ValidatorUnavailable) before.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

from app.contract.errors import FieldError
from app.processes import ChildStarter, kill_group
from app.records.limits import MIB
from app.records.messages import READY_LINE, Invalid, Unreadable, Valid, ValidationRequest, verdict_adapter
from app.records.types import Columns, DatasetKind, DatasetReport, InvalidDataset

COMMAND = (sys.executable, "-m", "app.records.validate")
#: Threads cost address space, and one file is read by one thread; the system's allocator gives memory back.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}

TURN_SECONDS = 10.0


class ValidatorUnavailable(Exception):
    """No validator could be had, or the file could not be read for reasons of ours."""


class ValidatorsBusy(Exception):
    """No turn came within TURN_SECONDS."""


class ValidatorPool:
    """Judges at most `max_running` files at a time; further callers wait their turn for a while.

    They wait briefly, because each holds a thread of the server that answers other requests too.
    """

    def __init__(
        self, starter: ChildStarter, *, memory_bytes: int, timeout_seconds: float, max_running: int = 4
    ) -> None:
        self._starter = starter
        self._memory_bytes = memory_bytes
        self._timeout_seconds = timeout_seconds
        self._turns = threading.BoundedSemaphore(max_running)
        self._lock = threading.Lock()
        self._busy: set[subprocess.Popen[bytes]] = set()
        self._spare: subprocess.Popen[bytes] | None = None
        self._closed = False

    def warm(self) -> None:
        """Start the spare now, not at the first upload."""
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = self._start()

    def inspect(self, path: Path, filename: str, kind: str | None, columns: Columns | None) -> DatasetReport:
        """`app.records.inspect` in a limited child. Raises InvalidDataset, ValidatorUnavailable, ValidatorsBusy."""
        request = ValidationRequest(
            path=str(path), filename=filename, kind=kind, columns=dict(columns or {}), memory_bytes=self._memory_bytes
        )
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise ValidatorsBusy
        try:
            return self._judge(self._take(), request)
        finally:
            self._turns.release()

    def close(self) -> None:
        """Kill all validators; whoever waits for a busy one gets ValidatorUnavailable."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
            for child in self._busy:
                kill_group(child)
        if spare is not None:
            _end(spare)

    def _take(self) -> "subprocess.Popen[bytes]":
        """The spare, if it lives, or a new child; the next spare is started at once."""
        with self._lock:
            if self._closed:
                raise ValidatorUnavailable("the server is shutting down")
            child, self._spare = self._spare, None
            if child is None or child.poll() is not None:
                child = self._start()
            self._busy.add(child)
            self._spare = self._start()
            return child

    def _start(self) -> "subprocess.Popen[bytes]":
        try:
            return self._starter.start(
                COMMAND, env=dict(os.environ) | ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise ValidatorUnavailable(f"a validator could not be started: {error}") from error

    def _judge(self, child: "subprocess.Popen[bytes]", request: ValidationRequest) -> DatasetReport:
        try:
            output, _ = child.communicate(request.model_dump_json().encode() + b"\n", self._timeout_seconds)
        except subprocess.TimeoutExpired:
            raise _invalid(f"Validating the file took longer than {self._timeout_seconds:g} seconds.") from None
        finally:
            with self._lock:
                self._busy.discard(child)
            _end(child)
        return self._verdict(output, child.returncode)

    def _verdict(self, output: bytes, exit_code: int) -> DatasetReport:
        if self._closed or not output.startswith(READY_LINE):
            raise ValidatorUnavailable(f"a validator ended before it read the file (exit code {exit_code})")
        if not output.endswith(b"\n") or output == READY_LINE:
            raise _invalid(
                f"Reading the file ended the validator (exit code {exit_code}): the file is damaged, or needs more "
                f"than {self._memory_bytes // MIB:,} MiB of memory."
            )
        match verdict_adapter.validate_json(output.removeprefix(READY_LINE)):
            case Valid() as valid:
                kind = DatasetKind(valid.kind)
                return DatasetReport(kind, valid.columns, valid.num_examples, valid.profile, valid.warnings)
            case Invalid(errors=errors, total=total):
                raise InvalidDataset(errors, total)
            case Unreadable(message=message):
                raise ValidatorUnavailable(message)


def _end(child: "subprocess.Popen[bytes]") -> None:
    kill_group(child)
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()


def _invalid(message: str) -> InvalidDataset:
    return InvalidDataset([FieldError(location="file", message=message)])
