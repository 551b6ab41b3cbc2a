"""The SQL of projects: whom every resource belongs to, and whose turn it is."""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.tables import ProjectRow
from app.db.upsert import insert_new


def ensure(session: Session, project_id: str, at: datetime) -> bool:
    """Whether the project is new."""
    return insert_new(session, ProjectRow, {"id": project_id, "name": project_id, "created_at": at})


def lock(session: Session, project_id: str) -> None:
    """Whoever counts what the project has, to add to it, does so alone until the transaction ends. Rows that merely
    belong to it are free."""
    session.execute(select(ProjectRow.id).where(ProjectRow.id == project_id).with_for_update(key_share=True))


def mark_served(session: Session, project_id: str, at: datetime) -> None:
    """One of its jobs starts: the turn passes on to the others."""
    session.execute(update(ProjectRow).where(ProjectRow.id == project_id).values(served_at=at))
