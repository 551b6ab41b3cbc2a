"""The SQL of a job's events: an append-only list, numbered within the job from 1 without gaps."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.tables import EventRow, JobRow


def append(session: Session, job_id: str, type: str, data: dict[str, Any], at: datetime) -> int:  # noqa: A002  the column's name
    """The id of the new event. Appenders of one job wait for each other, so that no id is given twice or left out."""
    session.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update(key_share=True))
    event_id = last_id(session, job_id) + 1
    session.add(EventRow(job_id=job_id, id=event_id, type=type, data=data, created_at=at))
    session.flush()
    return event_id


def after(session: Session, job_id: str, after_id: int, limit: int) -> Sequence[EventRow]:
    """The first events with an id above `after_id`, ascending."""
    query = select(EventRow).where(EventRow.job_id == job_id, EventRow.id > after_id)
    return session.scalars(query.order_by(EventRow.id).limit(limit)).all()


def before(session: Session, job_id: str, before_id: int | None, limit: int) -> Sequence[EventRow]:
    """The last events with an id below `before_id`, descending."""
    query = select(EventRow).where(EventRow.job_id == job_id)
    if before_id is not None:
        query = query.where(EventRow.id < before_id)
    return session.scalars(query.order_by(EventRow.id.desc()).limit(limit)).all()


def latest(session: Session, job_id: str, limit: int, *, without: str) -> Sequence[EventRow]:
    """The last events that are not of the type `without`, ascending."""
    query = select(EventRow).where(EventRow.job_id == job_id, EventRow.type != without)
    return session.scalars(query.order_by(EventRow.id.desc()).limit(limit)).all()[::-1]


def last_id(session: Session, job_id: str) -> int:
    """0 where there is no event yet."""
    return session.scalar(select(func.max(EventRow.id)).where(EventRow.job_id == job_id)) or 0


class Head(NamedTuple):
    """How far a job's events have come, and whether more may follow."""

    status: str
    last_id: int


def heads(session: Session, job_ids: Collection[str]) -> dict[str, Head]:
    """Of each job that there is, as one statement sees them: no status is told without the event that tells it."""
    last = select(func.coalesce(func.max(EventRow.id), 0)).where(EventRow.job_id == JobRow.id).scalar_subquery()
    query = select(JobRow.id, JobRow.status, last).where(JobRow.id.in_(job_ids))
    return {job_id: Head(status, last_id) for job_id, status, last_id in session.execute(query)}
