"""The SQL of projects: whom every resource belongs to."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.db.tables import ProjectRow
from app.db.upsert import insert_new


def ensure(session: Session, project_id: str, at: datetime) -> bool:
    """Whether the project is new."""
    return insert_new(session, ProjectRow, {"id": project_id, "name": project_id, "created_at": at})
