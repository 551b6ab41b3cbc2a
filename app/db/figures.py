"""The SQL of what Prometheus is told of all projects together: one grouped query a figure, each out of an index."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.contract.messages import CPU_QUEUE, GPU_QUEUE
from app.db.outbox import FAILED, PENDING
from app.db.tables import JobRow, OutboxRow, WorkerRow
from app.db.workers import State


@dataclass(frozen=True, slots=True)
class Pace:
    """Of running jobs together, as each has told last."""

    steps_per_second: float
    examples_per_second: float


def jobs(session: Session) -> Mapping[tuple[str, str], int]:
    """How many, by method and status."""
    query = select(JobRow.method, JobRow.status, func.count()).where(JobRow.deleted_at.is_(None))
    found = session.execute(query.group_by(JobRow.method, JobRow.status))
    return {(method, status): count for method, status, count in found}


def queued_since(session: Session) -> Mapping[str, datetime]:
    """When the job that waits longest in each queue came into it. One that takes any device stands in the CPU's."""
    on_gpu = (JobRow.device == "cuda").label("on_gpu")
    query = select(on_gpu, func.min(JobRow.queued_at)).where(JobRow.status == JobStatus.QUEUED)
    found = session.execute(query.group_by(on_gpu))
    return {GPU_QUEUE if on_gpu else CPU_QUEUE: since for on_gpu, since in found if since is not None}


def paces(session: Session) -> Mapping[str, Pace]:
    """By method. A job that has told no rate yet counts as 0."""
    rates = (JobRow.progress[rate].as_float() for rate in ("steps_per_second", "examples_per_second"))
    query = select(JobRow.method, *(func.coalesce(func.sum(rate), 0.0) for rate in rates))
    found = session.execute(query.where(JobRow.status == JobStatus.RUNNING).group_by(JobRow.method))
    return {method: Pace(steps, examples) for method, steps, examples in found}


def workers(session: Session, since: datetime) -> Mapping[tuple[str, State], int]:
    """How many, by role and state; live are those heard of after `since`."""
    lives = (WorkerRow.heartbeat_at >= since).label("lives")
    found = session.execute(select(WorkerRow.role, lives, func.count()).group_by(WorkerRow.role, lives))
    return {(role, "live" if alive else "silent"): count for role, alive, count in found}


def notices(session: Session) -> Mapping[str, int]:
    """How many of those that webhooks are still to be told or could not be told, by status."""
    query = select(OutboxRow.status, func.count()).where(OutboxRow.status.in_((PENDING, FAILED)))
    found = session.execute(query.group_by(OutboxRow.status))
    return {status: count for status, count in found}  # noqa: C416  mypy takes a row for no pair


def undelivered_since(session: Session) -> datetime | None:
    """Since when the oldest notice that is still to be told has been there."""
    return session.scalar(select(func.min(OutboxRow.created_at)).where(OutboxRow.status == PENDING))
