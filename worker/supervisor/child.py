"""One training process: started before it is needed, given one assignment, read until it ends.

Knows nothing of jobs, leases or the database.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from app.contract.messages import AnyAssignment, ReportLine, report_line_adapter
from app.processes import ChildStarter, kill_group

TRAINING_COMMAND = (sys.executable, "-m", "worker.training_process")
#: A line is told by our own code; one longer than this is no line.
MAX_LINE_BYTES = 16 << 20
#: Of 1000: where memory runs out, the kernel kills a training process and not its trainer.
OOM_SCORE = 800


class UnreadableLine(Exception):
    """The process sent something that is no report line."""


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """How training processes are started; `--report-fd N` is added to `command`."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    working_dir: Path
    memory_bytes: int | None = None


class TrainingChild:
    """Thread-safe in its signals; assigned, read and closed by one thread."""

    def __init__(self, process: "subprocess.Popen[bytes]", report_fd: int, log_path: Path) -> None:
        self._process = process
        self._report = os.fdopen(report_fd, "rb")
        self.log_path = log_path

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_exited(self) -> bool:
        return self._process.poll() is not None

    def assign(self, assignment: AnyAssignment) -> None:
        """Give the process its one line. If it has died, that shows when its report is read."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(assignment.model_dump_json().encode() + b"\n")

    def lines(self) -> Iterator[ReportLine]:
        """What the process reports, until it and all its descendants have closed the pipe. Raises UnreadableLine."""
        while line := self._report.readline(MAX_LINE_BYTES):
            if not line.endswith(b"\n"):  # it died in the middle of a line, or the line is endless
                return
            try:
                yield report_line_adapter.validate_json(line)
            except ValidationError as error:
                raise UnreadableLine(str(error)) from error

    def terminate(self) -> None:
        """Ask the process to write a last checkpoint and end."""
        if not self.has_exited:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the process, and what it has started, at once."""
        kill_group(self._process)

    def close(self) -> int:
        """Make sure that nothing of the process is left; its exit code, negative for a signal."""
        self.kill()
        exit_code = self._process.wait()
        self._report.close()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return exit_code

    def wait(self, timeout_seconds: float) -> None:
        """Give the process a while to end by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_seconds)


def start_child(starter: ChildStarter, options: ChildOptions, log_path: Path) -> TrainingChild:
    """Start a process that imports what it needs and waits; its stdout and stderr go to `log_path`."""
    report_fd, child_fd = os.pipe()
    try:
        with log_path.open("ab") as log:
            process = starter.start(
                (*options.command, "--report-fd", str(child_fd)),
                env=dict(options.environment),
                cwd=options.working_dir,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(child_fd,),
            )
    except BaseException:
        os.close(report_fd)
        raise
    finally:
        os.close(child_fd)
    _limit(process.pid, options.memory_bytes)
    return TrainingChild(process, report_fd, log_path)


def _limit(pid: int, memory_bytes: int | None) -> None:
    """Linux only; the process may have died already, and then its report tells."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE))
        if memory_bytes is not None:
            resource.prlimit(pid, resource.RLIMIT_AS, (memory_bytes, memory_bytes))
