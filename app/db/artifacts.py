"""The SQL of the files that a job made for its user."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import ArtifactRow
from app.db.upsert import upsert as upsert_rows


def upsert(
    session: Session,
    *,
    job_id: str,
    name: str,
    key: str,
    media_type: str,
    size_bytes: int,
    sha256: str,
    at: datetime,
) -> None:
    """A later file of the same name takes the earlier one's place."""
    row = {
        "job_id": job_id,
        "name": name,
        "key": key,
        "media_type": media_type,
        "size_bytes": size_bytes,
        "sha256": sha256,
        "created_at": at,
    }
    upsert_rows(session, ArtifactRow, [row])


def list_of(session: Session, job_id: str) -> Sequence[ArtifactRow]:
    """In order of names."""
    return session.scalars(select(ArtifactRow).where(ArtifactRow.job_id == job_id).order_by(ArtifactRow.name)).all()


def get(session: Session, job_id: str, name: str) -> ArtifactRow | None:
    return session.get(ArtifactRow, (job_id, name), populate_existing=True)
