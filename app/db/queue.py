"""The queue seen from outside any attempt: expired leases, jobs that wait for a parent, jobs that nobody took.

Each function may run at any time, any number of times, in several processes at once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from app.contract.errors import ErrorCode, JobError
from app.contract.job import TERMINAL, AttemptOutcome, Fault, JobStatus
from app.db import attempts, jobs
from app.db.tables import JobRow

FIRST_WAKE_SECONDS = 60.0
MAX_WAKE_SECONDS = 3_600.0
BATCH = 100


def any_expired(session: Session, at: datetime) -> bool:
    return _any(session, _expired(at))


def requeue_expired(session: Session, at: datetime, max_lost_attempts: int) -> set[str]:
    """End the attempts whose owner has stopped extending its lease; the devices that requeued jobs want."""
    rows = session.scalars(_expired(at).limit(BATCH).with_for_update(skip_locked=True)).all()
    devices = set()
    for row in rows:
        status = attempts.conclude(
            session,
            row,
            AttemptOutcome.LOST,
            at=at,
            max_lost_attempts=max_lost_attempts,
            detail=f"the worker {row.lease_owner} stopped extending its lease",
        )
        if status is JobStatus.QUEUED:
            devices.add(row.device)
    return devices


def any_released(session: Session) -> bool:
    return _any(session, _released())


def release_waiting(session: Session, at: datetime) -> set[str]:
    """Queue the jobs whose parent succeeded and fail those whose parent ended otherwise, down to the last descendant;
    the devices that queued jobs want."""
    devices: set[str] = set()
    while released := session.execute(_released().limit(BATCH)).all():
        moved = 0
        for job_id, device, parent_id, parent_status in released:
            if parent_status == JobStatus.SUCCEEDED:
                won = jobs.transition(session, job_id, JobStatus.QUEUED, when={JobStatus.WAITING}, at=at, queued_at=at)
                devices.update({device} if won else ())
            else:
                won = _fail_child(session, job_id, parent_id, parent_status, at)
            moved += won
        if not moved:  # another process releases them now
            break
    return devices


def any_stale(session: Session, at: datetime) -> bool:
    return _any(session, _stale(at))


def take_stale(session: Session, at: datetime) -> set[str]:
    """The devices of jobs that stay queued though they were announced. Each is told again after a growing while."""
    rows: Sequence[JobRow] = session.scalars(_stale(at).limit(BATCH).with_for_update(skip_locked=True)).all()
    for row in rows:
        pause_seconds = min(FIRST_WAKE_SECONDS * 2.0 ** min(row.wake_count, 10), MAX_WAKE_SECONDS)
        row.wake_at, row.wake_count = at + timedelta(seconds=pause_seconds), row.wake_count + 1
    session.flush()
    return {row.device for row in rows}


def _any(session: Session, query: Select[*tuple[Any, ...]]) -> bool:
    """Whichever comes first: every trainer looks every other second, and to order 10,000 queued jobs takes 30 ms."""
    return session.execute(query.order_by(None).limit(1)).first() is not None


def _expired(at: datetime) -> Select[JobRow]:
    return (
        select(JobRow)
        .where(JobRow.status.in_(attempts.ACTIVE), JobRow.lease_expires_at < at)
        .order_by(JobRow.id)
        .execution_options(populate_existing=True)
    )


def _released() -> Select[str, str, str, str]:
    parent = aliased(JobRow)
    return (
        select(JobRow.id, JobRow.device, parent.id, parent.status)
        .join(parent, parent.id == JobRow.parent_job_id)
        .where(JobRow.status == JobStatus.WAITING, parent.status.in_(TERMINAL))
        .order_by(JobRow.id)
    )


def _fail_child(session: Session, job_id: str, parent_id: str, parent_status: str, at: datetime) -> bool:
    error = JobError(
        code=ErrorCode.PARENT_FAILED,
        message=f"The parent {parent_id} ended as {parent_status}. Retry it, then this job.",
        fault=Fault.USER,
    )
    return jobs.transition(
        session,
        job_id,
        JobStatus.FAILED,
        when={JobStatus.WAITING},
        at=at,
        error=error.model_dump(mode="json"),
        finished_at=at,
    )


def _stale(at: datetime) -> Select[JobRow]:
    due_at = func.coalesce(JobRow.wake_at, JobRow.queued_at)
    unannounced = JobRow.wake_at.is_(None) & (JobRow.queued_at < at - timedelta(seconds=FIRST_WAKE_SECONDS))
    return (
        select(JobRow)
        .where(JobRow.status == JobStatus.QUEUED, unannounced | (JobRow.wake_at < at))
        .order_by(due_at)
        .execution_options(populate_existing=True)
    )
