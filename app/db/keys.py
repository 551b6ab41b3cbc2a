"""The SQL of API keys. A revoked key keeps its row: that a key was ever made is what closes a service on loopback."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import Session

from app.db.tables import ApiKeyRow
from app.db.upsert import insert_new


def insert(session: Session, row: ApiKeyRow) -> None:
    session.add(row)
    session.flush()


def insert_first(session: Session, columns: Mapping[str, Any]) -> bool:
    """The first key there is, or nothing. Processes that start at once all mean the same prefix, and one inserts it."""
    return not any_made(session) and insert_new(session, ApiKeyRow, columns)


def any_made(session: Session) -> bool:
    """Revoked and expired ones count."""
    return bool(session.scalar(select(exists(select(ApiKeyRow.id)))))


def any_usable(session: Session, at: datetime) -> bool:
    return bool(session.scalar(select(exists(select(ApiKeyRow.id).where(*_usable(at))))))


def usable(session: Session, prefixes: Collection[str], at: datetime) -> Sequence[ApiKeyRow]:
    """Those of the prefixes that are neither revoked nor expired."""
    return session.scalars(select(ApiKeyRow).where(ApiKeyRow.prefix.in_(prefixes), *_usable(at))).all()


def find(session: Session, id_or_prefix: str) -> ApiKeyRow | None:
    return session.scalar(select(ApiKeyRow).where(or_(ApiKeyRow.id == id_or_prefix, ApiKeyRow.prefix == id_or_prefix)))


def get(session: Session, project_id: str, key_id: str) -> ApiKeyRow | None:
    return session.scalar(select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.project_id == project_id))


def page(session: Session, project_id: str, *, before_id: str | None, limit: int) -> Sequence[ApiKeyRow]:
    """The newest first, and those older than `before_id`."""
    query = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id)
    if before_id is not None:
        query = query.where(ApiKeyRow.id < before_id)
    return session.scalars(query.order_by(ApiKeyRow.id.desc()).limit(limit)).all()


def list_of(session: Session, project_id: str | None) -> Sequence[ApiKeyRow]:
    """In order of creation; of every project where none is named."""
    query = select(ApiKeyRow).order_by(ApiKeyRow.id)
    return session.scalars(query if project_id is None else query.where(ApiKeyRow.project_id == project_id)).all()


def mark_used(session: Session, key_ids: Collection[str], at: datetime) -> None:
    used = update(ApiKeyRow).where(ApiKeyRow.id.in_(key_ids)).values(last_used_at=at)
    session.execute(used.execution_options(synchronize_session=False))


def _usable(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return ApiKeyRow.revoked_at.is_(None), or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > at)
