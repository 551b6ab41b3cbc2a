"""What a trial's jobs have come to: its scores at rungs and at its end, read from what they have measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from sqlalchemy.orm import Session

from app.contract.compatibility import VALIDATION_LOSS
from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault, JobStatus
from app.contract.messages import Resolved
from app.contract.specs.sweep import SweepSpec
from app.db import sweeps
from app.db.tables import JobRow


class NotMeasured(Exception):
    """A job has ended and has no score; `error` says why."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Judged:
    """A trial's mean over its folds. `results` has an entry a fold."""

    mean: float
    standard_deviation: float | None
    results: list[dict[str, Any]]


def is_at_rung(job: JobRow) -> bool:
    """Whether the job is paused where its sweep wanted it to."""
    if job.status != JobStatus.PAUSED or job.resolved is None:
        return False
    step = Resolved.model_validate(job.resolved).pause_step(job.pause_at)
    return step is not None and int(job.progress.get("step", 0)) >= step


def judged(session: Session, spec: SweepSpec, jobs: Sequence[JobRow], *, until_step: int | None = None) -> Judged:
    """By what was measured up to `until_step`. Raises NotMeasured."""
    results = [_result(session, spec, job, until_step) for job in jobs]
    scores = [float(result["score"]) for result in results]
    return Judged(fmean(scores), stdev(scores) if len(scores) > 1 else None, results)


def first_error(jobs: Iterable[JobRow]) -> JobError | None:
    """Why a trial cannot come to its end, if one of its jobs has not."""
    for job in jobs:
        if job.status == JobStatus.FAILED:
            return JobError.model_validate(job.error, strict=False)
        if job.status in (JobStatus.CANCELLED, JobStatus.CANCELLING):
            return JobError(code=ErrorCode.INVALID_STATE, message=f"The job {job.id} was cancelled.", fault=Fault.USER)
    return None


def _result(session: Session, spec: SweepSpec, job: JobRow, until_step: int | None) -> dict[str, Any]:
    metric = spec.objective.metric
    measured = sweeps.evaluations(session, job.id, {VALIDATION_LOSS, metric})
    losses = {
        step: loss
        for step, loss in measured.get(VALIDATION_LOSS, {}).items()
        if until_step is None or step <= until_step
    }
    best_step = min(losses, key=lambda step: (losses[step], step), default=None)
    if best_step is None:
        raise _not_measured(f"The job {job.id} has no evaluation: there were no examples to validate on.")
    if best_step not in measured.get(metric, {}):
        known = sorted(set(job.metrics) - {"learning_rate"})
        raise _not_measured(f"The job {job.id} measures no {metric!r}; it measures {', '.join(known)}.")
    total_steps = int(job.progress.get("total_steps") or best_step)
    return {"job_id": job.id, "score": measured[metric][best_step], "best_step": best_step, "total_steps": total_steps}


def _not_measured(message: str) -> NotMeasured:
    return NotMeasured(JobError(code=ErrorCode.VALIDATION_FAILED, message=message, fault=Fault.USER))
