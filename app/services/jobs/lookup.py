"""A job by its id, for every service that starts from one."""

from sqlalchemy.orm import Session

from app.contract.errors import NotFound
from app.db import jobs
from app.db.locking import Lock
from app.db.tables import JobRow


def job_of(session: Session, project_id: str, job_id: str, *, lock: Lock | None = None) -> JobRow:
    """Raises NotFound; a job of another project is not there."""
    row = jobs.get(session, project_id, job_id, lock=lock)
    if row is None:
        raise NotFound(f"There is no job {job_id!r}.")
    return row
