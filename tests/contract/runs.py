"""Runs assignments: in this process, or in one of their own that can be killed."""

import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from app.contract.checkpoint import MANIFEST_NAME
from app.contract.messages import (
    Assignment,
    CheckpointLine,
    MetricsLine,
    ReportLine,
    ResolvedLine,
    TrialLine,
    report_line_adapter,
)
from worker.methods import BUILDERS
from worker.reporter import Reporter
from worker.training.protocols import Method
from worker.training.seed import seed_preparation
from worker.training_run import run_assignment

Series = dict[tuple[str, int], float]

#: Forks of a process that has imported torch and computed nothing: the import would cost each of them seconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["worker.training_run"])


def run_here(assignment: Assignment) -> list[ReportLine]:
    lines: list[ReportLine] = []
    assert run_assignment(assignment, lines.append, stop=threading.Event()) == 0, lines[-1]
    return lines


def run_until_killed(assignment: Assignment, step: int) -> list[ReportLine]:
    """SIGKILL a training process once it has told a metric of `step` or of a later one."""
    return run_until_killed_at(assignment, lambda line: isinstance(line, MetricsLine) and line.step >= step)


def run_until_killed_at(assignment: Assignment, reached: Callable[[ReportLine], bool]) -> list[ReportLine]:
    """SIGKILL a training process once it has told such a line.

    A pipe of one page lets it run ahead of its reader by some twenty lines only.
    """
    report, theirs = _FORKS.Pipe(duplex=False)
    fcntl.fcntl(theirs.fileno(), fcntl.F_SETPIPE_SZ, 4096)
    process = _FORKS.Process(target=_train, args=(assignment, theirs, torch.get_num_threads()))
    process.start()
    theirs.close()
    lines: list[ReportLine] = []
    with os.fdopen(os.dup(report.fileno()), "rb") as told:
        for line in told:
            lines.append(report_line_adapter.validate_json(line))
            if reached(lines[-1]):
                process.kill()
    report.close()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return lines


def _train(assignment: Assignment, report: Connection, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    run_assignment(assignment, Reporter(report.fileno()).send, stop=threading.Event())


def continued(assignment: Assignment, lines: Iterable[ReportLine]) -> Assignment:
    """The next attempt: from the newest whole checkpoint, with what the first one resolved and tried."""
    told = list(lines)
    update = {
        "attempt": assignment.attempt + 1,
        "resume_from": newest_checkpoint(assignment),
        "resolved": [line.resolved for line in told if isinstance(line, ResolvedLine)][-1],
        "trials": (*assignment.trials, *(line.trial for line in told if isinstance(line, TrialLine))),
    }
    return assignment.model_copy(update=update)


def newest_checkpoint(assignment: Assignment) -> Path | None:
    manifests = sorted((assignment.output_dir / "checkpoints").glob(f"step-*[0-9]/{MANIFEST_NAME}"))
    return manifests[-1].parent if manifests else None


def series(*runs: Iterable[ReportLine]) -> Series:
    """Metrics by name and step; a later run's replace an earlier one's, as the database has it."""
    return {
        (name, line.step): value
        for lines in runs
        for line in lines
        if isinstance(line, MetricsLine)
        for name, value in line.values.items()
    }


def final_checkpoint(lines: Iterable[ReportLine]) -> Path:
    return [line.path for line in lines if isinstance(line, CheckpointLine)][-1]


def prepared(assignment: Assignment) -> Method:
    seed_preparation(assignment.spec.training.seed)
    return BUILDERS[assignment.spec.kind, assignment.spec.method.type](assignment, lambda _: None)
