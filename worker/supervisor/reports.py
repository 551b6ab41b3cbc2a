"""Takes the lines that a training process reports, and makes each durable under the attempt's lease.

Files are stored beside the reading of lines, so that a slow store does not hold up training: one checkpoint or artifact
at a time, in the order in which they were told. So the process may be one checkpoint ahead of what is durable, and
never two.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, assert_never

from sqlalchemy.orm import Session

from app.contract.auto import settled
from app.contract.checkpoint import CheckpointManifest, Environment
from app.contract.messages import (
    AnyAssignment,
    ArtifactLine,
    CheckpointLine,
    EvaluatedLine,
    FailedLine,
    FinishedLine,
    LastLine,
    LogLine,
    MetricsLine,
    ModelAssignment,
    PausedLine,
    PredictedLine,
    ReadyLine,
    ReportLine,
    ResolvedLine,
    SearchLine,
    TrialLine,
)
from app.contract.trials import Trial
from app.db import events, metrics
from app.db.session import now
from app.db.tables import JobRow
from app.storage import ArtifactStore
from app.tracing import Stages
from worker.local_copies import Corrupted
from worker.supervisor.beside import Beside
from worker.supervisor.child import UnreadableLine
from worker.supervisor.lease import LeaseKeeper
from worker.supervisor.progress import prepared, progress_at, searching
from worker.supervisor.publish import Publisher, delete_unneeded
from worker.supervisor.record import record_artifact, record_checkpoint


@dataclass(frozen=True, slots=True)
class Terms:
    """What of an assignment its reports are read by. `total_steps` is null until the data are prepared."""

    total_steps: int | None
    examples_per_step: int
    keep_checkpoints: int

    @classmethod
    def of(cls, assignment: AnyAssignment) -> Self:
        if isinstance(assignment, ModelAssignment):
            return cls(assignment.num_records, examples_per_step=1, keep_checkpoints=0)
        resolved, training = assignment.resolved, settled(assignment.spec, assignment.resolved)
        total_steps = resolved.total_steps if resolved else None
        return cls(total_steps, training.decided_batch_size, training.keep_checkpoints)


class Reports:
    """`resumed` is the manifest of the checkpoint that the process continues from. `last_line` is its last words; what
    was told before them is durable when `storing` has ended."""

    def __init__(
        self,
        lease: LeaseKeeper,
        store: ArtifactStore,
        publisher: Publisher,
        storing: Beside,
        *,
        output_dir: Path,
        terms: Terms,
        resumed: CheckpointManifest | None,
        on_training: Callable[[], None],
    ) -> None:
        """`on_training` is called when the process has begun to train."""
        self._lease = lease
        self._store = store
        self._publisher = publisher
        self._storing = storing
        self._output_dir = output_dir.resolve()
        self._terms = terms
        self._resumed = resumed
        self._on_training = on_training
        self._published_steps: set[int] = set()
        self._stages = Stages()
        self.last_line: LastLine | None = None

    def accept(self, line: ReportLine) -> None:
        """Raises LeaseLost, and OSError where the store fails, or has failed on a line before."""
        self._storing.check()
        match line:
            case ReadyLine():
                pass
            case ResolvedLine():
                self._accept_resolved(line)
            case SearchLine():
                self._accept_search(line)
            case TrialLine():
                self._accept_trial(line.trial)
            case MetricsLine():
                self._accept_metrics(line)
            case CheckpointLine():
                self._accept_checkpoint(line)
            case ArtifactLine():
                self._accept_artifact(line)
            case LogLine():
                self._tell("log", {"level": line.level, "message": line.message})
            case FinishedLine() | PausedLine() | PredictedLine() | EvaluatedLine() | FailedLine():
                self._stages.end("steps")
                self.last_line = line
            case _:
                assert_never(line)

    def warn(self, message: str) -> None:
        self._tell("warning", {"message": message})

    def _accept_resolved(self, line: ResolvedLine) -> None:
        self._stages.end("load", parameters=line.resolved.num_parameters)
        batch_size = line.resolved.batch_size or self._terms.examples_per_step
        self._terms = replace(self._terms, total_steps=line.resolved.total_steps, examples_per_step=batch_size)

        def apply(_: Session, row: JobRow) -> None:
            row.resolved = line.resolved.model_dump(mode="json")
            row.device = line.resolved.device  # a later attempt must run where the first one did
            row.environment = line.environment.model_dump(mode="json")
            row.progress = prepared(row.progress, line.resolved)

        self._lease.write(apply)
        if self._resumed and (differences := _differences(self._resumed.environment, line.environment)):
            self.warn(f"Resumed in another environment, so the result may differ in its last bits: {differences}.")

    def _accept_search(self, line: SearchLine) -> None:
        def apply(_: Session, row: JobRow) -> None:
            row.progress = searching(row.progress, line)

        self._lease.write(apply)
        self._on_training()

    def _accept_trial(self, trial: Trial) -> None:
        self._stages.end("trial", learning_rate=trial.learning_rate, batch_size=trial.batch_size)

        def apply(session: Session, row: JobRow) -> None:
            row.trials = [*(row.trials or ()), trial.model_dump(mode="json")]
            told = {"level": "info", "message": told_trial(trial)}
            events.append(session, row.id, "log", told, now(session))

        self._lease.write(apply)

    def _accept_metrics(self, line: MetricsLine) -> None:
        progress = progress_at(line, self._terms.total_steps, self._terms.examples_per_step)

        def apply(session: Session, row: JobRow) -> None:
            row.progress, row.metrics = progress, row.metrics | line.values
            metrics.upsert(session, row.id, line.step, line.values)
            told = {"step": line.step, "values": line.values, "progress": progress}
            events.append(session, row.id, "metrics", told, now(session))

        self._lease.write(apply)
        self._on_training()

    def _accept_artifact(self, line: ArtifactLine) -> None:
        self._check_inside(line.path)
        self._storing.hand_over(lambda: self._store_artifact(line))

    def _accept_checkpoint(self, line: CheckpointLine) -> None:
        self._check_inside(line.path)
        self._stages.end("steps", last_step=line.step)
        self._storing.hand_over(lambda: self._store_checkpoint(line))

    def _store_artifact(self, line: ArtifactLine) -> None:
        published = self._publisher.artifact(line.name, line.path, line.media_type)
        self._lease.write(lambda session, row: record_artifact(session, row, published))

    def _store_checkpoint(self, line: CheckpointLine) -> None:
        if line.step in self._published_steps:  # asked to stop at a step that it had just written
            return
        with self._stages.beside("checkpoint", step=line.step):
            self._keep_checkpoint(line)

    def _keep_checkpoint(self, line: CheckpointLine) -> None:
        try:
            published = self._publisher.checkpoint(line.path, line.step)
        except Corrupted as error:
            self.warn(f"The checkpoint of step {line.step} was written damaged and is not kept: {error}.")
            return
        keep_checkpoints = self._terms.keep_checkpoints
        for prefix in self._lease.write(
            lambda session, row: record_checkpoint(session, row, published, keep_checkpoints)
        ):
            delete_unneeded(self._store, prefix)
        self._published_steps.add(line.step)
        shutil.rmtree(line.path, ignore_errors=True)

    def _check_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._output_dir):
            raise UnreadableLine(f"{path} is not in the folder given for output")

    def _tell(self, event_type: str, data: dict[str, str]) -> None:
        self._lease.write(lambda session, row: events.append(session, row.id, event_type, data, now(session)))


def told_trial(trial: Trial) -> str:
    tried = f"learning_rate {trial.learning_rate:g}, batch_size {trial.batch_size}"
    if trial.cut is not None:
        return f"Trial of {tried}: {trial.cut.replace('_', ' ')} at step {trial.stopped_at_step} of {trial.steps}."
    return f"Trial of {tried}: validation loss {trial.score:.4g} after {trial.steps} steps."


def _differences(then: Environment, here: Environment) -> str:
    """`num_threads 2 then, 4 now`; empty where a resume is exact."""
    pairs = [(name, getattr(then, name), getattr(here, name)) for name in Environment.model_fields]
    return "; ".join(f"{name} {old} then, {new} now" for name, old, new in pairs if old != new)
