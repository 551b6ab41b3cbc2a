"""Where queued jobs stand: their place in the line, and what no trainer has that they ask for."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db import jobs, workers
from app.db.session import now
from app.db.tables import JobRow, WorkerRow
from app.dispatch import queues_for
from app.services.jobs.views import JobView, view_of


def views_of(session: Session, rows: Sequence[JobRow], silence: timedelta) -> list[JobView]:
    """`silence`: trainers that were heard of within it live."""
    queued = [row for row in rows if row.status == JobStatus.QUEUED]
    if not queued:
        return [view_of(row) for row in rows]
    places = jobs.queue_positions(session, [row.id for row in queued])
    trainers = workers.live(session, "trainer", now(session) - silence)
    reasons = {row.id: waiting_reason(row.device, row.labels or (), trainers) for row in queued}
    return [view_of(row, places.get(row.id), reasons.get(row.id)) for row in rows]


def waiting_reason(device: str, labels: Collection[str], trainers: Sequence[WorkerRow]) -> str | None:
    """Why none of the live `trainers` takes a job for `device` and `labels`; None where one does."""
    if not trainers:
        return "No trainer is alive: the job waits until one comes."
    queues = queues_for(device)
    if any(queues & {*trainer.queues} and {*labels} <= {*(trainer.labels or ())} for trainer in trainers):
        return None
    wanted = [*(["a GPU"] if device == "cuda" else []), *([f"the labels {', '.join(labels)}"] if labels else [])]
    return f"No trainer that is alive has {' and '.join(wanted)}: the job waits until one comes."
