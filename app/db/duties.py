"""Named leases on recurrent work, so that of many processes one does it at a time."""

from datetime import datetime, timedelta

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.tables import DutyLeaseRow

#: Whoever has it copies files, which its snapshot of the rows refers to.
BACKUP = "backup"


def acquire(session: Session, name: str, owner: str, *, at: datetime, seconds: float) -> bool:
    """Take or renew the duty for `seconds`; False while another owner has it."""
    expires_at = at + timedelta(seconds=seconds)
    taken = session.execute(
        update(DutyLeaseRow)
        .where(DutyLeaseRow.name == name, or_(DutyLeaseRow.owner == owner, DutyLeaseRow.expires_at < at))
        .values(owner=owner, expires_at=expires_at)
        .returning(DutyLeaseRow.name)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return taken is not None or _insert(session, DutyLeaseRow(name=name, owner=owner, expires_at=expires_at))


def is_held(session: Session, name: str, at: datetime) -> bool:
    """Whether anybody has the duty now."""
    held = exists().where(DutyLeaseRow.name == name, DutyLeaseRow.expires_at >= at)
    return bool(session.scalar(select(held)))


def release(session: Session, name: str, owner: str) -> None:
    session.execute(delete(DutyLeaseRow).where(DutyLeaseRow.name == name, DutyLeaseRow.owner == owner))


def _insert(session: Session, row: DutyLeaseRow) -> bool:
    if session.get(DutyLeaseRow, row.name) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was first
        return False
    return True
