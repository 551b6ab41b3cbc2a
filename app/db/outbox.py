"""The SQL of notices: written in the transaction that makes the news, delivered afterwards, at least once.

An attempt to deliver is fenced by its number: who was held up so long that another has taken the notice notes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.contract.webhooks import WebhookEvent
from app.db.ids import new_id
from app.db.tables import JobRow, OutboxRow, SweepRow, WebhookRow

DeliveryStatus = Literal["pending", "delivered", "failed"]
PENDING: DeliveryStatus = "pending"
DELIVERED: DeliveryStatus = "delivered"
FAILED: DeliveryStatus = "failed"


@dataclass(frozen=True, slots=True)
class Notice:
    """What to send where; `attempt` counts from 1."""

    id: str
    attempt: int
    url: str
    secret: str
    payload: dict[str, Any]


def announce(session: Session, job_id: str, event: WebhookEvent, at: datetime) -> None:
    """A notice for every webhook, of the job or of its project, that asks for the event."""
    of_job = or_(WebhookRow.job_id.is_(None), WebhookRow.job_id == job_id)
    query = select(WebhookRow).join(JobRow, JobRow.project_id == WebhookRow.project_id)
    for webhook in session.scalars(query.where(JobRow.id == job_id, of_job)):
        if event in webhook.events:
            session.add(_notice(webhook, event, _told(session.get_one(JobRow, job_id)), at))
    session.flush()


def announce_sweep(session: Session, sweep: SweepRow, at: datetime) -> None:
    """A notice of its end for every webhook of its project that asks for that."""
    event = WebhookEvent(f"sweep.{sweep.status}")
    query = select(WebhookRow).where(WebhookRow.project_id == sweep.project_id, WebhookRow.job_id.is_(None))
    told = {name: getattr(sweep, name) for name in ("id", "name", "status", "model_id", "error")}
    session.add_all(_notice(webhook, event, told, at) for webhook in session.scalars(query) if event in webhook.events)
    session.flush()


def any_due(session: Session, at: datetime) -> bool:
    return bool(session.scalar(select(exists().where(*_due(at)))))


def take_due(session: Session, at: datetime, *, until: datetime, limit: int) -> Sequence[Notice]:
    """The oldest notice of each webhook that has one due; nobody else is given it before `until`."""
    oldest = select(func.min(OutboxRow.id)).where(*_due(at)).group_by(OutboxRow.webhook_id).limit(limit)
    taken = session.execute(
        update(OutboxRow)
        .where(OutboxRow.id.in_(oldest), *_due(at))
        .values(attempts=OutboxRow.attempts + 1, due_at=until)
        .returning(OutboxRow.id, OutboxRow.attempts, OutboxRow.webhook_id, OutboxRow.payload)
        .execution_options(synchronize_session=False)
    ).all()
    webhooks = select(WebhookRow).where(WebhookRow.id.in_([webhook_id for _, _, webhook_id, _ in taken]))
    by_id = {webhook.id: webhook for webhook in session.scalars(webhooks)}
    return [
        Notice(notice_id, attempt, by_id[webhook_id].url, by_id[webhook_id].secret, payload)
        for notice_id, attempt, webhook_id, payload in taken
    ]


def note_success(session: Session, notice: Notice, response_status: int, at: datetime) -> None:
    _note(session, notice, status=DELIVERED, delivered_at=at, response_status=response_status, error=None)


def note_failure(
    session: Session, notice: Notice, error: str, response_status: int | None, due_at: datetime | None
) -> None:
    """`due_at`: when to try again; None: never, but on demand."""
    again = {"status": FAILED} if due_at is None else {"due_at": due_at}
    _note(session, notice, error=error, response_status=response_status, **again)


def get(session: Session, project_id: str, notice_id: str) -> OutboxRow | None:
    return session.scalar(select(OutboxRow).where(OutboxRow.id == notice_id, OutboxRow.project_id == project_id))


def page(
    session: Session,
    project_id: str,
    *,
    status: DeliveryStatus | None,
    webhook_id: str | None,
    before_id: str | None,
    limit: int,
) -> Sequence[OutboxRow]:
    """The newest first, and those older than `before_id`."""
    query = select(OutboxRow).where(OutboxRow.project_id == project_id)
    if status is not None:
        query = query.where(OutboxRow.status == status)
    if webhook_id is not None:
        query = query.where(OutboxRow.webhook_id == webhook_id)
    if before_id is not None:
        query = query.where(OutboxRow.id < before_id)
    return session.scalars(query.order_by(OutboxRow.id.desc()).limit(limit)).all()


def again(session: Session, project_id: str, notice_id: str, at: datetime) -> OutboxRow | None:
    """Due now, with all its attempts before it, whatever became of it so far."""
    return session.scalar(
        update(OutboxRow)
        .where(OutboxRow.id == notice_id, OutboxRow.project_id == project_id)
        .values(status=PENDING, attempts=0, due_at=at, delivered_at=None, error=None, response_status=None)
        .returning(OutboxRow)
    )


def sweep(session: Session, before: datetime) -> None:
    """Forget notices made before then that nobody is still to be told."""
    session.execute(delete(OutboxRow).where(OutboxRow.created_at < before, OutboxRow.status != PENDING))


def _due(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return OutboxRow.status == PENDING, OutboxRow.due_at <= at


def _note(session: Session, notice: Notice, **changes: Any) -> None:
    fence = (OutboxRow.id == notice.id, OutboxRow.attempts == notice.attempt, OutboxRow.status == PENDING)
    session.execute(update(OutboxRow).where(*fence).values(**changes).execution_options(synchronize_session=False))


def _notice(webhook: WebhookRow, event: WebhookEvent, data: dict[str, Any], at: datetime) -> OutboxRow:
    return OutboxRow(
        id=new_id("msg"),
        project_id=webhook.project_id,
        webhook_id=webhook.id,
        event=event,
        payload={"type": event, "timestamp": at.isoformat(), "data": data},
        status=PENDING,
        due_at=at,
        created_at=at,
    )


def _told(job: JobRow) -> dict[str, Any]:
    """Enough to know what to ask next; no more, for it leaves the house."""
    told = {name: getattr(job, name) for name in ("id", "kind", "method", "name", "status", "attempt", "model_id")}
    return told | {"error": job.error, "metadata": job.job_metadata}
