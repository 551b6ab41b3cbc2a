"""The SQL of workers: trainers and inference replicas that say they live."""

import os
import socket
from collections.abc import Collection, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.db.locking import Lock, locked
from app.db.tables import WorkerRow

Role = Literal["trainer", "inference"]
State = Literal["live", "silent"]


def heartbeat(
    session: Session,
    *,
    id: str,  # noqa: A002  the column's name
    role: Role,
    queues: Collection[str],
    devices: Collection[str],
    labels: Collection[str] = (),
    address: str | None,
    loaded: Collection[str],
    cache_bytes: int | None = None,
    at: datetime,
) -> None:
    """Say that a worker, which is this process, lives, and what it offers now."""
    row = session.get(WorkerRow, id)
    if row is None:
        row = WorkerRow(id=id, role=role, name=_this_process(), version=version("pretune"), started_at=at)
        session.add(row)
    row.queues, row.devices, row.labels, row.loaded = list(queues), list(devices), list(labels), list(loaded)
    row.address, row.cache_bytes, row.heartbeat_at = address, cache_bytes, at
    session.flush()


def live(session: Session, role: Role, since: datetime, *, lock: Lock | None = None) -> Sequence[WorkerRow]:
    """Those that have been heard of after `since`, in order of their ids."""
    query = select(WorkerRow).where(WorkerRow.role == role, WorkerRow.heartbeat_at >= since)
    return session.scalars(locked(query.order_by(WorkerRow.id), lock)).all()


def holders(session: Session, digests: Collection[str], since: datetime) -> dict[str, list[str]]:
    """Which live replicas have said last that they hold each of the models in memory."""
    rows = live(session, "inference", since) if digests else ()
    return {digest: [row.id for row in rows if digest in row.loaded] for digest in digests}


def page(
    session: Session, since: datetime, state: State | None, *, before_id: str | None, limit: int
) -> Sequence[WorkerRow]:
    """The newest first, and those older than `before_id`; live are those heard of after `since`."""
    query = select(WorkerRow)
    if state is not None:
        heard = WorkerRow.heartbeat_at >= since
        query = query.where(heard if state == "live" else ~heard)
    if before_id is not None:
        query = query.where(WorkerRow.id < before_id)
    return session.scalars(query.order_by(WorkerRow.id.desc()).limit(limit)).all()


def live_queues(session: Session, since: datetime) -> frozenset[str]:
    """The queues that some living trainer listens to."""
    return frozenset(queue for row in live(session, "trainer", since) for queue in row.queues)


def remove(session: Session, id: str) -> None:  # noqa: A002  the column's name
    session.execute(delete(WorkerRow).where(WorkerRow.id == id))


def sweep(session: Session, before: datetime) -> int:
    """Forget those not heard of since `before`; how many they were."""
    return len(session.execute(delete(WorkerRow).where(WorkerRow.heartbeat_at < before).returning(WorkerRow.id)).all())


def _this_process() -> str:
    """As an operator finds it: the machine, or the container, and the process there."""
    return f"{socket.gethostname()}:{os.getpid()}"
