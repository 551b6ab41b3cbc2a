"""The SQL of webhooks: of a project, or of one job."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.tables import OutboxRow, WebhookRow


def insert(session: Session, row: WebhookRow) -> None:
    session.add(row)
    session.flush()


def get(session: Session, project_id: str, webhook_id: str) -> WebhookRow | None:
    return session.scalar(select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.project_id == project_id))


def page(
    session: Session, project_id: str, *, job_id: str | None, before_id: str | None, limit: int
) -> Sequence[WebhookRow]:
    """The newest first, and those older than `before_id`."""
    query = select(WebhookRow).where(WebhookRow.project_id == project_id)
    if job_id is not None:
        query = query.where(WebhookRow.job_id == job_id)
    if before_id is not None:
        query = query.where(WebhookRow.id < before_id)
    return session.scalars(query.order_by(WebhookRow.id.desc()).limit(limit)).all()


def num_of_project(session: Session, project_id: str) -> int:
    """Without those of single jobs."""
    query = select(func.count()).where(WebhookRow.project_id == project_id, WebhookRow.job_id.is_(None))
    return session.scalar(query) or 0


def remove(session: Session, webhook_id: str) -> None:
    """With its notices, those not yet delivered too."""
    session.execute(delete(OutboxRow).where(OutboxRow.webhook_id == webhook_id))
    session.execute(delete(WebhookRow).where(WebhookRow.id == webhook_id))


def remove_of_job(session: Session, job_id: str) -> None:
    for webhook_id in session.scalars(select(WebhookRow.id).where(WebhookRow.job_id == job_id)).all():
        remove(session, webhook_id)
