"""The SQL of jobs. `transition` is the one door for a job's status: nothing else writes that column."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.contract.job import TERMINAL, TRANSITIONS, JobStatus
from app.contract.webhooks import event_of
from app.db import events, outbox, webhooks
from app.db.locking import Lock, locked
from app.db.tables import (
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    EventRow,
    JobRow,
    MetricRow,
    ProjectRow,
    WebhookRow,
)

MAX_NAMED = 10


def insert(session: Session, row: JobRow, webhook: WebhookRow | None = None) -> None:
    """A new job, with what tells its first status."""
    session.add(row)
    session.flush()
    if webhook is not None:
        webhooks.insert(session, webhook)
    _tell(session, row.id, JobStatus(row.status), {"attempt": 0}, row.created_at)


def get(session: Session, project_id: str, job_id: str, *, lock: Lock | None = None) -> JobRow | None:
    """A new child of a job shares the lock on it; whoever deletes it wants it alone."""
    query = select(JobRow).where(JobRow.id == job_id, JobRow.project_id == project_id, JobRow.deleted_at.is_(None))
    return session.scalar(locked(query, lock))


def transition(
    session: Session,
    job_id: str,
    to: JobStatus,
    *,
    when: Collection[JobStatus],
    at: datetime,
    owner: tuple[str, int] | None = None,
    **changes: Any,
) -> bool:
    """Move a job to `to`, if it is in one of `when` and, where `owner` is given, if (worker, attempt) still own it.

    `changes` are further columns to set. What tells it is written in the same transaction. False: nothing
    was changed.
    """
    assert all(to in TRANSITIONS[status] for status in when), (to, when)
    guard = [JobRow.id == job_id, JobRow.status.in_(when)]
    if owner is not None:
        guard += [JobRow.lease_owner == owner[0], JobRow.attempt == owner[1]]
    moved = session.execute(
        update(JobRow)
        .where(*guard)
        .values(status=to.value, **changes)
        .returning(JobRow.attempt)
        .execution_options(synchronize_session="fetch")
    ).one_or_none()
    if moved is None:
        return False
    error = {"error": changes["error"]} if changes.get("error") else {}
    _tell(session, job_id, to, {"attempt": moved[0]} | error, at)
    return True


@dataclass(frozen=True, slots=True)
class JobFilters:
    """Those given must hold. `parent` is what the user named, or the job or the model that it was."""

    statuses: Collection[JobStatus] = ()
    kinds: Collection[str] | None = None
    method: str | None = None
    parent: str | None = None
    name: str | None = None
    sweep: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def page(
    session: Session, project_id: str, filters: JobFilters, *, before_id: str | None, limit: int
) -> Sequence[JobRow]:
    """The newest first, and those older than `before_id`."""
    query = select(JobRow).where(
        JobRow.project_id == project_id, JobRow.deleted_at.is_(None), *_conditions(session, filters)
    )
    if before_id is not None:
        query = query.where(JobRow.id < before_id)
    return session.scalars(query.order_by(JobRow.id.desc()).limit(limit)).all()


def queue_positions(session: Session, job_ids: Collection[str]) -> dict[str, int]:
    """The place of each queued job in the line that trainers take from; 1 is next.

    Jobs that want a GPU stand in a line of their own; those that take any device stand in the other; so do those that
    ask for equal labels. In each line projects take turns, as `app.db.attempts.claim` gives them.
    """
    best = (JobRow.priority.desc(), JobRow.id)
    on_gpu, labels = JobRow.device == "cuda", func.coalesce(cast(JobRow.labels, Text), "[]")
    turn = func.row_number().over(partition_by=(on_gpu, labels, JobRow.project_id), order_by=best)
    queued = (
        select(
            JobRow.id,
            JobRow.priority,
            on_gpu.label("on_gpu"),
            labels.label("labels"),
            turn.label("turn"),
            ProjectRow.served_at,
        )
        .join(ProjectRow, ProjectRow.id == JobRow.project_id)
        .where(JobRow.status == JobStatus.QUEUED)
        .subquery()
    )
    order = (queued.c.turn, queued.c.served_at.nulls_first(), queued.c.priority.desc(), queued.c.id)
    place = func.row_number().over(partition_by=(queued.c.on_gpu, queued.c.labels), order_by=order)
    line = select(queued.c.id, place.label("place")).subquery()
    found = session.execute(select(line.c.id, line.c.place).where(line.c.id.in_(job_ids)))
    return {job_id: place for job_id, place in found}  # noqa: C416  mypy takes a row for no pair


def forget_model(session: Session, model_id: str) -> None:
    """The job whose result the model was has none any more."""
    session.execute(update(JobRow).where(JobRow.model_id == model_id).values(model_id=None))


def children_in_need(session: Session, job_id: str) -> Sequence[str]:
    """The first jobs that have not ended and are still to take a model of this one."""
    query = select(JobRow.id).where(
        JobRow.parent_job_id == job_id, JobRow.parent_model_id.is_(None), JobRow.status.not_in(TERMINAL)
    )
    return session.scalars(query.order_by(JobRow.id).limit(MAX_NAMED)).all()


def mark_deleted(session: Session, row: JobRow, at: datetime) -> None:
    """All that it has in the database goes at once; its files are the caller's to delete, after the commit."""
    webhooks.remove_of_job(session, row.id)
    for table in (EventRow, MetricRow, ArtifactRow, CheckpointRow, AttemptRow):
        session.execute(delete(table).where(table.job_id == row.id))
    row.deleted_at = at
    session.flush()


def _tell(session: Session, job_id: str, status: JobStatus, facts: dict[str, Any], at: datetime) -> None:
    """Whoever follows the job, and whoever asked to be told of it elsewhere."""
    events.append(session, job_id, "status", {"status": status.value} | facts, at)
    if (event := event_of(status)) is not None:
        outbox.announce(session, job_id, event, at)


def _conditions(session: Session, filters: JobFilters) -> list[ColumnElement[bool]]:
    equal = ((JobRow.method, filters.method), (JobRow.name, filters.name), (JobRow.sweep_id, filters.sweep))
    conditions = [column == value for column, value in equal if value is not None]
    if filters.statuses:
        conditions.append(JobRow.status.in_(filters.statuses))
    if filters.kinds is not None:
        conditions.append(JobRow.kind.in_(filters.kinds))
    if filters.parent is not None:
        named = (JobRow.parent_ref, JobRow.parent_job_id, JobRow.parent_model_id)
        conditions.append(or_(*(column == filters.parent for column in named)))
    return conditions + [_has_metadata(session, key, value) for key, value in filters.metadata.items()]


def _has_metadata(session: Session, key: str, value: str) -> ColumnElement[bool]:
    """Neither side puts the key into a JSON path, where a quote in it would mean something."""
    if session.get_bind().dialect.name == "postgresql":
        matches: ColumnElement[bool] = JobRow.job_metadata[key].as_string() == value
        return matches
    entry = func.json_each(JobRow.job_metadata).table_valued("key", "value")
    return exists().where(entry.c.key == key, entry.c.value == value)
