"""Takes one claimed job to the end of its attempt: prepare, train, conclude. Knows nothing of Celery."""

import math
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.orm import Session

from app.contract.auto import settled
from app.contract.errors import ErrorCode, JobError
from app.contract.evaluations import UNITS_NAME
from app.contract.job import AttemptOutcome, JobStatus
from app.contract.messages import EvaluatedLine, FinishedLine, PredictedLine, ResultLine
from app.contract.predictions import PREDICTIONS_NAME
from app.contract.specs.job import TRAINING_KINDS
from app.db import artifacts, attempts, checkpoints, evaluations, events, models
from app.db.attempts import Claim, Room
from app.db.session import Database, now
from app.db.tables import JobRow
from app.settings import Settings
from app.storage import ArtifactStore
from app.tracing import traces
from worker.cache import Cache
from worker.local_copies import LocalCopies
from worker.supervisor.beside import Beside
from worker.supervisor.child import UnreadableLine
from worker.supervisor.endings import AttemptEnd, ProcessEnd, classify
from worker.supervisor.environment import COMPILED, INDUCTOR
from worker.supervisor.failures import AttemptFailed, disk_full
from worker.supervisor.lease import LeaseKeeper, LeaseLost, LeaseTimes
from worker.supervisor.memory import count_oom_kills, ran_out_of_memory
from worker.supervisor.overfitting_report import write_overfitting_report
from worker.supervisor.prepare import OUTPUT_FOLDER, Preparation, Prepared, resolved_of, spec_of, training_spec_of
from worker.supervisor.progress import finished as finished_progress
from worker.supervisor.publish import LOG_ARTIFACT, PublishedArtifact, Publisher, delete_unneeded
from worker.supervisor.record import forget_parts, record_artifact
from worker.supervisor.reports import Reports, Terms
from worker.supervisor.scratch import Scratch
from worker.supervisor.smaller_batches import smaller_batches
from worker.supervisor.spares import Spares
from worker.supervisor.tensorboard import write_event_file
from worker.supervisor.watch import Ending, Limits, Watch

#: A process that has closed its report has this long to end by itself.
EXIT_SECONDS = 5.0

#: The artifact without which a job that goes over a data set has no result.
_RESULTS = {PredictedLine: PREDICTIONS_NAME, EvaluatedLine: UNITS_NAME}

_log = structlog.get_logger(__name__)


class _Ended(Exception):
    """The watch wants the attempt to end while its inputs are being brought."""


@dataclass(frozen=True, slots=True)
class Runner:
    """`shutdown`: the trainer is to end. `settled` is told how each attempt left its job, and the job's device."""

    settings: Settings
    database: Database
    store: ArtifactStore
    spares: Spares
    scratch: Scratch
    shutdown: threading.Event
    settled: Callable[[JobStatus, str], None]

    def run(self, job: JobRow, claimed_at: float) -> None:
        """Run the attempt that was claimed at the monotonic time `claimed_at`; returns when nothing of it is left."""
        claim = attempts.claim_of(job)
        times = LeaseTimes(
            self.settings.lease_seconds, self.settings.heartbeat_seconds, self.settings.stop_poll_seconds
        )
        limits = self._limits(job)
        log = _log.bind(job_id=job.id, attempt=job.attempt)
        log.info("attempt_started", method=job.method)
        _tell_beginning(job, claimed_at)
        try:
            with (
                traces.span("attempt", parent=job.traceparent, job_id=job.id, attempt=job.attempt, method=job.method),
                self.scratch.attempt(job.id, job.attempt) as folder,
                LeaseKeeper(self.database, claim, times, claimed_at=claimed_at) as lease,
                Watch(lease, self.shutdown, limits) as watch,
            ):
                attempt = _Attempt(self, job, claim, folder, lease, watch)
                end = attempt.end()
                with traces.span("conclude", outcome=end.outcome.value):
                    status = attempt.conclude(end)
                traces.note(status=status.value)
        except LeaseLost:
            log.warning("attempt_discarded", reason="its lease is another's")
        else:
            log.info("attempt_ended", status=status)
            self.settled(status, job.device)
        finally:
            self.spares.refill()

    def _limits(self, job: JobRow) -> Limits:
        settings, seconds = self.settings, spec_of(job).resources.time_limit_seconds
        return Limits(
            settings.stall_seconds,
            settings.stop_grace_seconds,
            settings.cancel_grace_seconds,
            time_limit_seconds=seconds,
            run_until=math.inf if seconds is None else time.monotonic() + seconds - job.seconds_run,
        )


@dataclass(frozen=True, slots=True)
class _Attempt:
    runner: Runner
    job: JobRow
    claim: Claim
    folder: Path
    lease: LeaseKeeper
    watch: Watch

    def end(self) -> AttemptEnd:
        """Prepare and train, and tell how that ended. Raises LeaseLost."""
        try:
            with ExitStack() as in_use:
                with traces.span("prepare"):
                    prepared = self._prepare(in_use)
                with traces.span("train"):
                    return self._train(prepared)
        except _Ended:
            return self._classify(ProcessEnd(0))
        except LeaseLost:
            raise
        except AttemptFailed as failure:
            return _failed(failure)
        except UnreadableLine as error:
            return AttemptEnd(AttemptOutcome.LOST, detail=f"the training process sent an unreadable line: {error}")
        except Exception as error:  # noqa: BLE001  the edge of an attempt: it is lost, and retried up to the cap
            _log.exception("attempt_broke", job_id=self.job.id, attempt=self.job.attempt)
            failure_of_disk = disk_full(error) if isinstance(error, OSError) else None
            return _failed(failure_of_disk) if failure_of_disk else _broken(error)

    def conclude(self, end: AttemptEnd) -> JobStatus:
        """Write the attempt's end, and with a success its result, in one transaction. Raises LeaseLost."""
        files = self._publish_files()

        def apply(session: Session, row: JobRow) -> tuple[JobStatus, list[str]]:
            for file in files:
                record_artifact(session, row, file)
            status = self._write_end(session, row, end)
            return status, forget_parts(session, row) if status is JobStatus.SUCCEEDED else []

        status, joined = self.lease.write(apply)
        for key in joined:
            delete_unneeded(self.runner.store, key)
        return status

    def _prepare(self, in_use: ExitStack) -> Prepared:
        settings = self.runner.settings
        cache = Cache(settings.cache_dir)
        in_use.enter_context(cache.entry(COMPILED, INDUCTOR, Path.mkdir))
        preparation = Preparation(
            database=self.runner.database,
            copies=LocalCopies(self.runner.store, cache, settings.cache_bytes),
            lease=self.lease,
            folder=self.folder,
            cache_dir=settings.cache_dir,
            in_use=in_use,
            warn=self._warn,
            heed=self._heed,
        )
        prepared = preparation.run(self.job)
        self._heed()
        return prepared

    def _heed(self) -> None:
        """Before there is a process to stop. Raises _Ended."""
        if self.watch.ending is not None:
            raise _Ended

    def _train(self, prepared: Prepared) -> AttemptEnd:
        with Beside(f"store-{self.job.id}") as storing:
            end = self._run_process(prepared, storing)
        return self._classify(end)

    def _run_process(self, prepared: Prepared, storing: Beside) -> ProcessEnd:
        reports = Reports(
            self.lease,
            self.runner.store,
            Publisher(self.runner.store, self.claim, self.lease.check),
            storing,
            output_dir=self.folder / OUTPUT_FOLDER,
            terms=Terms.of(prepared.assignment),
            resumed=prepared.resumed,
            on_training=self.runner.spares.refill,
        )
        oom_kills, log = count_oom_kills(), self.folder / LOG_ARTIFACT
        child = self.runner.spares.take()
        try:
            child.log_path.rename(log)
            with self.watch.over(child):
                child.assign(prepared.assignment)
                for line in child.lines():
                    with self.watch.handling(line):
                        reports.accept(line)
                child.wait(EXIT_SECONDS)
        finally:
            exit_code = child.close()
        ran_out = ran_out_of_memory(exit_code, count_oom_kills() - oom_kills, log)
        return ProcessEnd(exit_code, reports.last_line, self.watch.ending, ran_out)

    def _classify(self, end: ProcessEnd) -> AttemptEnd:
        ending = end.ending or self.watch.ending
        if ending is Ending.LEASE_LOST:
            raise LeaseLost(self.claim)
        return classify(replace(end, ending=ending), self.watch.limits)

    def _write_end(self, session: Session, row: JobRow, end: AttemptEnd) -> JobStatus:
        changes: dict[str, Any] = {}
        if end.finished is not None and row.status != JobStatus.CANCELLING:
            end, changes = self._with_result(session, row, end, end.finished)
        if end.error is not None and end.error.code is ErrorCode.OUT_OF_MEMORY and row.status != JobStatus.CANCELLING:
            end, changes = self._after_want_of_memory(session, row, end.error)
        return attempts.conclude(
            session,
            row,
            end.outcome,
            at=now(session),
            max_lost_attempts=self.runner.settings.max_lost_attempts,
            error=end.error,
            detail=end.detail,
            **changes,
        )

    def _with_result(
        self, session: Session, row: JobRow, end: AttemptEnd, finished: ResultLine
    ) -> tuple[AttemptEnd, dict[str, Any]]:
        """The end to write, and what a success changes in the job's row."""
        if isinstance(finished, FinishedLine):
            return self._with_model(session, row, end, finished)
        result = artifacts.get(session, row.id, _RESULTS[type(finished)])
        if result is None:
            return AttemptEnd(AttemptOutcome.LOST, detail="the file of its result was not kept"), {}
        if isinstance(finished, EvaluatedLine):
            evaluations.register(session, row, finished.report, result, now(session))
            self._tell(session, _told_evaluation(finished))
        else:
            self._tell(session, _told_prediction(finished))
        return end, {"progress": finished_progress(row.progress, finished.num_records)}

    def _with_model(
        self, session: Session, row: JobRow, end: AttemptEnd, finished: FinishedLine
    ) -> tuple[AttemptEnd, dict[str, Any]]:
        checkpoint = checkpoints.get(session, row.id, finished.model_step)
        if checkpoint is None:
            return AttemptEnd(AttemptOutcome.LOST, detail="the checkpoint of its result was not kept"), {}
        changes: dict[str, Any] = {"progress": finished_progress(row.progress, finished.step)}
        if row.trial is None:  # of a sweep's trials, only the best becomes a model
            model = models.register_checkpoint(session, row, checkpoint, finished.model, now(session))
            changes |= {"model_id": model.id}
        self._tell(session, _told_training(finished))
        return end, changes

    def _after_want_of_memory(
        self, session: Session, row: JobRow, error: JobError
    ) -> tuple[AttemptEnd, dict[str, Any]]:
        """The end to write, and what it changes in the job's row."""
        if row.kind not in TRAINING_KINDS:
            return AttemptEnd(AttemptOutcome.FAILED, error=error, detail=error.message), {}
        resolved = resolved_of(row)
        next_try = smaller_batches(error, settled(training_spec_of(row), resolved), resolved)
        if isinstance(next_try, JobError):
            return AttemptEnd(AttemptOutcome.FAILED, error=next_try, detail=next_try.message), {}
        events.append(session, row.id, "warning", {"message": next_try.warning}, now(session))
        end = AttemptEnd(AttemptOutcome.OUT_OF_MEMORY, detail=error.message)
        return end, {"resolved": next_try.resolved.model_dump(mode="json")}

    def _tell(self, session: Session, message: str) -> None:
        events.append(session, self.job.id, "log", {"level": "info", "message": message}, now(session))

    def _warn(self, message: str) -> None:
        self.lease.write(
            lambda session, row: events.append(session, row.id, "warning", {"message": message}, now(session))
        )

    def _publish_files(self) -> list[PublishedArtifact]:
        """The log and the reports. Raises LeaseLost."""
        publisher = Publisher(self.runner.store, self.claim, self.lease.check)
        log = self.folder / LOG_ARTIFACT
        try:
            files = [publisher.log(log)] if log.exists() else []
            made = self.lease.write(lambda session, row: _write_reports(session, row, self.folder))
            return files + [publisher.artifact(path.name, path, media_type) for path, media_type in made]
        except OSError as error:  # they are worth no attempt
            _log.warning("files_not_kept", job_id=self.job.id, error=str(error))
            return []


def _write_reports(session: Session, row: JobRow, folder: Path) -> list[tuple[Path, str]]:
    """Made anew from the whole series: the report on overfitting, and the curves for TensorBoard. A job that
    makes no model has neither."""
    if row.kind not in TRAINING_KINDS:
        return []
    return [*write_overfitting_report(session, row, folder), *write_event_file(session, row, folder)]


def _tell_beginning(job: JobRow, claimed_at: float) -> None:
    """How long the job was in the queue, and its claim: both are told when they are over."""
    claim_seconds = time.monotonic() - claimed_at
    queued_seconds = (datetime.now(UTC) - (job.queued_at or job.created_at)).total_seconds()
    traces.tell("queue", max(claim_seconds, queued_seconds), parent=job.traceparent, job_id=job.id)
    traces.tell("claim", claim_seconds, parent=job.traceparent, job_id=job.id, attempt=job.attempt)


def claim_next(
    database: Database,
    owner: str,
    devices: tuple[str, ...],
    lease_seconds: float,
    *,
    labels: Collection[str] = (),
    room: Room | None = None,
    max_running: int | None = None,
) -> tuple[JobRow, float] | None:
    """The best job that fits us, and the monotonic time since when its lease counts; None where there is none. The
    others as in `attempts.claim`.

    An error of the database means "do not run", even if the claim was made: the lease then runs out.
    """
    with database.reading() as session:
        if not attempts.any_claimable(session, devices, room, max_running, labels):
            return None
    claimed_at = time.monotonic()
    with database.transaction() as session:
        job = attempts.claim(
            session,
            owner=owner,
            devices=devices,
            labels=labels,
            lease_seconds=lease_seconds,
            room=room,
            max_running=max_running,
        )
    return None if job is None else (job, claimed_at)


def _told_training(finished: FinishedLine) -> str:
    reason = "stopped early" if finished.reason == "early_stopping" else "ran its whole duration"
    return f"Training {reason}: {finished.step} steps; the model is the checkpoint of step {finished.model_step}."


def _told_prediction(finished: PredictedLine) -> str:
    refused = f"; the model refused {finished.num_errors:,} of them" if finished.num_errors else ""
    return (
        f"{finished.num_records:,} records have been asked{refused}. The answers are the artifact {PREDICTIONS_NAME}."
    )


def _told_evaluation(finished: EvaluatedLine) -> str:
    report = finished.report
    name, first = next(iter(report.measures.items()))
    return (
        f"The model was judged on {report.num_units:,} {report.unit}s: {name} {first.value:.4g}, 95 % interval "
        f"{first.low:.4g} to {first.high:.4g}."
    )


def _failed(failure: AttemptFailed) -> AttemptEnd:
    return AttemptEnd(AttemptOutcome.FAILED, error=failure.error, detail=failure.error.message)


def _broken(error: Exception) -> AttemptEnd:
    return AttemptEnd(AttemptOutcome.LOST, detail=f"{type(error).__name__}: {error}")
