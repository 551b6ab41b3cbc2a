"""A real training process: its lines, its signals, its exit codes."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault
from app.contract.messages import (
    EXIT_FAILED,
    EXIT_STOPPED,
    Assignment,
    CheckpointLine,
    FailedLine,
    FinishedLine,
    MetricsLine,
    ReadyLine,
    ReportLine,
    ResolvedLine,
    report_line_adapter,
)
from tests.contract import language_model

DEADLINE_SECONDS = 60.0


class TrainingProcess:
    """Waits for its `ready` line; then it is at the test's command."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker.training_process", "--report-fd", str(writing)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        os.close(writing)
        self._report = os.fdopen(reading, "rb")
        assert isinstance(self.next_line(), ReadyLine)

    def assign(self, assignment: Assignment) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(assignment.model_dump_json().encode() + b"\n")
        self.process.stdin.flush()

    def next_line(self) -> ReportLine:
        return report_line_adapter.validate_json(self._report.readline())

    def rest(self) -> list[ReportLine]:
        return [report_line_adapter.validate_json(line) for line in self._report]

    def exit_code(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        for stream in (self.process.stdin, self.process.stderr, self._report):
            assert stream is not None
            stream.close()


@pytest.fixture
def process() -> Iterator[TrainingProcess]:
    process = TrainingProcess()
    yield process
    process.close()


def _assignment(folder: Path, **training: Any) -> Assignment:
    return language_model.assignment(folder, **training)


def test_a_process_that_is_given_nothing_ends_silently(process: TrainingProcess) -> None:
    assert process.process.stdin is not None
    process.process.stdin.close()

    assert process.rest() == []
    assert process.exit_code() == 0


def test_a_process_that_waits_ends_silently_at_sigterm(process: TrainingProcess) -> None:
    process.process.send_signal(signal.SIGTERM)

    assert process.rest() == []
    assert process.exit_code() == 0


def test_a_run_tells_what_it_decided_then_its_metrics_and_checkpoints_and_at_last_its_end(
    process: TrainingProcess, tmp_path: Path
) -> None:
    process.assign(_assignment(tmp_path, duration={"steps": 4}))
    lines = [line for line in process.rest() if line.type != "log"]

    assert isinstance(lines[0], ResolvedLine)
    assert lines[0].resolved.total_steps == 4
    assert {type(line) for line in lines[1:-1]} == {MetricsLine, CheckpointLine}
    assert isinstance(lines[-1], FinishedLine)
    assert process.exit_code() == 0


def test_sigterm_while_training_writes_a_checkpoint_first(process: TrainingProcess, tmp_path: Path) -> None:
    process.assign(_assignment(tmp_path, duration={"steps": 1_000_000}, checkpoint_every={"steps": 1_000_000}))
    while not isinstance(process.next_line(), MetricsLine):
        pass

    process.process.send_signal(signal.SIGTERM)
    last = process.rest()[-1]

    assert process.exit_code() == EXIT_STOPPED
    assert isinstance(last, CheckpointLine)
    assert (last.path / "manifest.json").exists()


def test_a_loss_that_diverges_is_the_users_to_mend(process: TrainingProcess, tmp_path: Path) -> None:
    wild = {"optimizer": {"type": "sgd", "learning_rate": 100.0}, "gradient_clip_norm": None}

    error = _failure(process, _assignment(tmp_path, **wild))

    assert (error.code, error.fault) == (ErrorCode.LOSS_NOT_FINITE, Fault.USER)
    assert "learning_rate" in error.message


def test_records_that_cannot_be_read_are_told_where_they_lie(process: TrainingProcess, tmp_path: Path) -> None:
    assignment = _assignment(tmp_path)
    assignment.dataset.path.write_bytes(b"fine\n\xff\xfe no UTF-8")

    error = _failure(process, assignment)

    assert (error.code, error.fault) == (ErrorCode.BAD_DATA, Fault.USER)
    assert "line 2" in error.message


@pytest.mark.slow
def test_a_disk_that_takes_no_checkpoint_is_not_the_users_to_mend(process: TrainingProcess, tmp_path: Path) -> None:
    """The kernel refuses larger files, as a full disk would; the model's weights are the first."""
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    error = _failure(process, _assignment(tmp_path, duration={"steps": 2}))

    assert (error.code, error.fault) == (ErrorCode.DISK_FULL, Fault.INFRASTRUCTURE)
    assert not list((tmp_path / "output" / "checkpoints").iterdir()), "what it had begun is gone"


def test_what_nobody_foresaw_is_told_too_and_its_traceback_is_in_the_log(
    process: TrainingProcess, tmp_path: Path
) -> None:
    error = _failure(process, _assignment(tmp_path).model_copy(update={"resume_from": tmp_path / "nowhere"}))

    assert (error.code, error.fault) == (ErrorCode.TRAINING_CRASHED, Fault.INFRASTRUCTURE)
    assert process.process.stderr is not None
    assert b"Traceback" in process.process.stderr.read()


def _failure(process: TrainingProcess, assignment: Assignment) -> JobError:
    """The error that the process ends with."""
    process.assign(assignment)
    last = process.rest()[-1]
    assert isinstance(last, FailedLine)
    assert process.exit_code() == EXIT_FAILED
    return last.error
