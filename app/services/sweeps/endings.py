"""The end of a sweep, in the transaction that holds its lock."""

from typing import Any

from sqlalchemy.orm import Session

from app.contract.job import TERMINAL
from app.contract.specs.sweep import SweepStatus
from app.db import outbox
from app.db.session import now
from app.services.jobs.control import cancelled
from app.services.jobs.service import apply
from app.services.sweeps.state import SweepState


def end_sweep(session: Session, state: SweepState, status: SweepStatus, *, error: dict[str, Any] | None = None) -> None:
    """What of it has not ended is cancelled, and whoever asked is told."""
    for job in state.all_jobs:
        if job.status not in TERMINAL and (move := cancelled(job)) is not None:
            apply(session, job, move)
    state.row.status, state.row.error, state.row.finished_at = status.value, error, now(session)
    outbox.announce_sweep(session, state.row, state.row.finished_at)
    session.flush()
