"""The SQL of published checkpoints, keyed by (job, step)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import CheckpointRow
from app.db.upsert import upsert as upsert_rows


def upsert(
    session: Session,
    *,
    job_id: str,
    step: int,
    attempt: int,
    artifact_prefix: str,
    manifest: dict[str, Any],
    size_bytes: int,
    at: datetime,
) -> None:
    """A step that is trained again after a loss replaces the earlier row."""
    row = {
        "job_id": job_id,
        "step": step,
        "attempt": attempt,
        "artifact_prefix": artifact_prefix,
        "manifest": manifest,
        "size_bytes": size_bytes,
        "created_at": at,
    }
    upsert_rows(session, CheckpointRow, [row])


def list_of(session: Session, job_id: str) -> Sequence[CheckpointRow]:
    """In order of steps."""
    query = select(CheckpointRow).where(CheckpointRow.job_id == job_id).order_by(CheckpointRow.step)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def get(session: Session, job_id: str, step: int) -> CheckpointRow | None:
    return session.get(CheckpointRow, (job_id, step), populate_existing=True)


def delete(session: Session, job_id: str, step: int) -> None:
    """The row alone: its files are the caller's to delete, after the commit."""
    session.execute(delete_from(CheckpointRow).where(CheckpointRow.job_id == job_id, CheckpointRow.step == step))
