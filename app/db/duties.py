"""Named leases on recurrent work, so that of many processes one does it at a time."""

from datetime import datetime, timedelta

from sqlalchemy import or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.tables import DutyLeaseRow


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


def _insert(session: Session, row: DutyLeaseRow) -> bool:
    if session.get(DutyLeaseRow, row.name) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another process was first
        return False
    return True
