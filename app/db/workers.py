"""The SQL of workers: trainers and inference replicas that say they live."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.tables import WorkerRow

Role = Literal["trainer", "inference"]


def heartbeat(
    session: Session,
    *,
    id: str,  # noqa: A002  the column's name
    role: Role,
    queues: Collection[str],
    devices: Collection[str],
    address: str | None,
    loaded: Collection[str],
    at: datetime,
) -> None:
    """Say that a worker lives, and what it offers now."""
    row = session.get(WorkerRow, id)
    if row is None:
        row = WorkerRow(id=id, role=role, started_at=at)
        session.add(row)
    row.queues, row.devices, row.loaded = list(queues), list(devices), list(loaded)
    row.address, row.heartbeat_at = address, at
    session.flush()


def live(session: Session, role: Role, since: datetime) -> Sequence[WorkerRow]:
    """Those that have been heard of after `since`, in order of their ids."""
    query = select(WorkerRow).where(WorkerRow.role == role, WorkerRow.heartbeat_at >= since)
    return session.scalars(query.order_by(WorkerRow.id)).all()


def live_queues(session: Session, since: datetime) -> frozenset[str]:
    """The queues that some living trainer listens to."""
    return frozenset(queue for row in live(session, "trainer", since) for queue in row.queues)


def remove(session: Session, id: str) -> None:  # noqa: A002  the column's name
    session.execute(delete(WorkerRow).where(WorkerRow.id == id))


def sweep(session: Session, before: datetime) -> int:
    """Forget those not heard of since `before`; how many they were."""
    return len(session.execute(delete(WorkerRow).where(WorkerRow.heartbeat_at < before).returning(WorkerRow.id)).all())
