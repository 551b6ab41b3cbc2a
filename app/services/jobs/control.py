"""What may become of a job in each state when its user asks. Decides only; `service` writes."""

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.orm import Session

from app.contract.errors import Conflict
from app.contract.job import TERMINAL, JobStatus
from app.db import datasets, jobs, models
from app.db.tables import JobRow

S = JobStatus
StopRequest = Literal["cancel", "pause"]


@dataclass(frozen=True, slots=True)
class Move:
    """The next state, and further columns that change with it."""

    to: JobStatus
    changes: dict[str, Any] = field(default_factory=dict)


def cancelled(row: JobRow) -> Move | None:
    """None where it was asked for already. Raises Conflict for a job that has ended otherwise."""
    match JobStatus(row.status):
        case S.CANCELLED | S.CANCELLING:
            return None
        case S.WAITING | S.QUEUED | S.PAUSED:
            return Move(S.CANCELLED, {"error": None})
        case S.RUNNING | S.PAUSING:
            return _asked("cancel", S.CANCELLING)
        case _:
            raise _conflict(row, "cancelled", "only a job that has not ended can be")


def paused(row: JobRow) -> Move:
    match JobStatus(row.status):
        case S.QUEUED:
            return Move(S.PAUSED, {"error": None})
        case S.RUNNING:
            return _asked("pause", S.PAUSING)
        case _:
            raise _conflict(row, "paused", "only a queued or a running job can be")


def resumed(row: JobRow) -> Move:
    if row.status != S.PAUSED:
        raise _conflict(row, "resumed", "only a paused job can be")
    return Move(S.QUEUED)


def retried(session: Session, row: JobRow) -> Move:
    """Back into the queue; or, where the parent is not there yet, back to waiting for it."""
    if row.status not in (S.FAILED, S.CANCELLED):
        raise _conflict(row, "retried", "only a failed or a cancelled job can be")
    _check_needs(session, row)
    fresh = {
        "error": None,
        "finished_at": None,
        "lost_attempts": 0,
        "seconds_run": 0.0,
        "wake_at": None,
        "wake_count": 0,
    }
    if row.parent_job_id is None or row.parent_model_id is not None:
        return Move(S.QUEUED, fresh)
    parent = jobs.get(session, row.project_id, row.parent_job_id, lock="share")
    if parent is None:
        raise Conflict(
            f"The job {row.id} starts from the job {row.parent_job_id}, which was deleted. Ask for a new job."
        )
    if parent.status == S.SUCCEEDED:
        return Move(S.QUEUED, fresh)
    if parent.status in TERMINAL:
        raise Conflict(
            f"The job {row.id} starts from the job {parent.id}, which has {parent.status}. Retry that first."
        )
    return Move(S.WAITING, fresh)


def _check_needs(session: Session, row: JobRow) -> None:
    """Nothing holds what a job needs that has ended. What it needs again is held until this transaction ends."""
    for dataset_id in filter(None, (row.dataset_id, row.validation_dataset_id)):
        if datasets.get(session, row.project_id, dataset_id, lock="share") is None:
            raise Conflict(
                f"The job {row.id} reads the data set {dataset_id}, which was deleted. "
                "Upload the data again and ask for a new job."
            )
    model_id = row.parent_model_id
    if model_id is not None and models.get(session, row.project_id, model_id, lock="share") is None:
        raise Conflict(f"The job {row.id} needs the model {model_id}, which was deleted. Ask for a new job.")


def _asked(request: StopRequest, to: JobStatus) -> Move:
    """The job's trainer sees the request at its next look."""
    return Move(to, {"stop_request": request})


def _conflict(row: JobRow, what: str, rule: str) -> Conflict:
    return Conflict(f"The job {row.id} is {row.status} and cannot be {what}: {rule}.")
