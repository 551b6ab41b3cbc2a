"""The SQL of data sets. Deleted ones keep their row and are found by nothing here but `blob_in_use`."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from app.contract.job import TERMINAL
from app.db.locking import Lock, locked
from app.db.tables import DatasetRow, JobRow

MAX_JOBS_NAMED = 10


def insert(session: Session, row: DatasetRow) -> None:
    session.add(row)
    session.flush()


def get(session: Session, project_id: str, dataset_id: str, *, lock: Lock | None = None) -> DatasetRow | None:
    """A new user of a data set shares the lock on it; whoever deletes it wants it alone."""
    query = select(DatasetRow).where(
        DatasetRow.id == dataset_id, DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None)
    )
    return session.scalar(locked(query, lock))


def page(session: Session, project_id: str, *, before_id: str | None, limit: int) -> Sequence[DatasetRow]:
    """The newest first, and those older than `before_id`."""
    query = select(DatasetRow).where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
    if before_id is not None:
        query = query.where(DatasetRow.id < before_id)
    return session.scalars(query.order_by(DatasetRow.id.desc()).limit(limit)).all()


def mark_deleted(session: Session, row: DatasetRow, at: datetime) -> None:
    row.deleted_at = at
    session.flush()


def jobs_in_need(session: Session, dataset_id: str) -> Sequence[str]:
    """The first jobs that have not ended and train or validate on the data set."""
    query = select(JobRow.id).where(
        or_(JobRow.dataset_id == dataset_id, JobRow.validation_dataset_id == dataset_id),
        JobRow.status.not_in([status.value for status in TERMINAL]),
    )
    return session.scalars(query.order_by(JobRow.id).limit(MAX_JOBS_NAMED)).all()


def num_jobs(session: Session, dataset_id: str) -> int:
    """Those that train or validate on the data set, or did."""
    uses = or_(JobRow.dataset_id == dataset_id, JobRow.validation_dataset_id == dataset_id)
    return session.scalar(select(func.count()).select_from(JobRow).where(uses, JobRow.deleted_at.is_(None))) or 0


def sharing_blob(session: Session, row: DatasetRow) -> str | None:
    """Another data set over the same bytes."""
    others = select(DatasetRow.id).where(DatasetRow.blob_key == row.blob_key, DatasetRow.id != row.id)
    return session.scalar(others.where(DatasetRow.deleted_at.is_(None)).order_by(DatasetRow.id).limit(1))


def lock_blob(session: Session, blob_key: str) -> None:
    """One transaction at a time decides about these bytes. SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(blob_key, 0))))


def blob_in_use(session: Session, blob_key: str) -> bool:
    return bool(
        session.scalar(select(exists().where(DatasetRow.blob_key == blob_key, DatasetRow.deleted_at.is_(None))))
    )
