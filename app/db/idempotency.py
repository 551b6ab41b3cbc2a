"""The SQL of idempotency keys: at most one answer a key and project.

Only `answer`, in the transaction that creates, decides which of several equal requests was first. A claim without an
answer tells others that somebody is at it, and no more: it may be lost, or be held twice, and nothing is made twice.
"""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import and_, delete, or_
from sqlalchemy.orm import Session

from app.db.tables import IdempotencyRow
from app.db.upsert import insert_into


def claim(
    session: Session,
    project_id: str,
    key: str,
    request_sha256: str,
    *,
    at: datetime,
    abandoned_before: datetime,
    expired_before: datetime,
) -> bool:
    """Take a key that is new, whose claim is so old that its request must have died, or whose time is over."""
    unanswered = {"request_sha256": request_sha256, "status_code": None, "created_at": at}
    abandoned = and_(IdempotencyRow.status_code.is_(None), IdempotencyRow.created_at < abandoned_before)
    taken = (
        insert_into(session, IdempotencyRow)
        .values(project_id=project_id, key=key, **unanswered)
        .on_conflict_do_update(
            index_elements=["project_id", "key"],
            set_=unanswered,
            where=or_(abandoned, IdempotencyRow.created_at < expired_before),
        )
        .returning(IdempotencyRow.key)
    )
    return session.execute(taken).first() is not None


def answer(
    session: Session,
    project_id: str,
    key: str,
    request_sha256: str,
    *,
    at: datetime,
    status_code: int,
    headers: Mapping[str, str],
    body: str,
) -> bool:
    """Keep the answer for good; False where the key has one already, or belongs to another request by now."""
    values = {"status_code": status_code, "headers": dict(headers), "body": body}
    row = {"project_id": project_id, "key": key, "request_sha256": request_sha256, "created_at": at, **values}
    kept = (
        insert_into(session, IdempotencyRow)
        .values(row)
        .on_conflict_do_update(
            index_elements=["project_id", "key"],
            set_=values,
            where=and_(IdempotencyRow.status_code.is_(None), IdempotencyRow.request_sha256 == request_sha256),
        )
        .returning(IdempotencyRow.key)
    )
    return session.execute(kept).first() is not None


def get(session: Session, project_id: str, key: str) -> IdempotencyRow | None:
    return session.get(IdempotencyRow, (project_id, key), populate_existing=True)


def free(session: Session, project_id: str, key: str, request_sha256: str) -> None:
    """Give up a claim that came to no answer."""
    session.execute(
        delete(IdempotencyRow).where(
            IdempotencyRow.project_id == project_id,
            IdempotencyRow.key == key,
            IdempotencyRow.request_sha256 == request_sha256,
            IdempotencyRow.status_code.is_(None),
        )
    )


def sweep(session: Session, before: datetime) -> None:
    """Forget the keys older than that, whether they were answered or not."""
    session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < before))
