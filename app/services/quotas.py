"""What a project may take up, so that no project takes all: jobs that wait, jobs that run, bytes that are stored.

A job that would be one too many to run is not refused: it waits in the queue until others of its project have ended
(`app.db.attempts`).
"""

from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import ErrorCode, ServiceError
from app.db import projects, usage
from app.db.session import Database
from app.settings import Settings

#: Jobs start and things are deleted at the pace of people and of training.
BACK_SECONDS = 60


class QuotaExceeded(ServiceError):
    code = ErrorCode.QUOTA_EXCEEDED
    status = HTTPStatus.TOO_MANY_REQUESTS


class Allowance(Contract):
    """`limit` is null where there is none."""

    used: int
    limit: int | None


class QuotaView(Contract):
    """`requests_per_second` is the limit at each api process, null where there is none."""

    project_id: str
    requests_per_second: float | None
    queued_jobs: Allowance
    running_jobs: Allowance
    stored_bytes: Allowance


@dataclass(frozen=True, slots=True)
class Quotas:
    database: Database
    settings: Settings

    def view(self, project_id: str) -> QuotaView:
        with self.database.reading() as session:
            queued = usage.jobs_in(session, project_id, usage.QUEUED)
            running = usage.jobs_in(session, project_id, usage.RUNNING)
            stored = usage.stored_bytes(session, project_id)
        return QuotaView(
            project_id=project_id,
            requests_per_second=self.settings.resolved_requests_per_second,
            queued_jobs=Allowance(used=queued, limit=self.settings.max_queued_jobs),
            running_jobs=Allowance(used=running, limit=self.settings.max_running_jobs),
            stored_bytes=Allowance(used=stored, limit=self.settings.max_stored_bytes),
        )


def check_queue(session: Session, project_id: str, limit: int | None) -> None:
    """Before a job is queued. Raises QuotaExceeded; of several at once, no more pass than there is room for."""
    if limit is None:
        return
    projects.lock(session, project_id)
    queued = usage.jobs_in(session, project_id, usage.QUEUED)
    if queued >= limit:
        raise QuotaExceeded(
            f"The project {project_id} has {queued:,} jobs waiting and queued, and may have {limit:,}. Wait until some "
            "have started, or cancel some. The operator can raise PRETUNE_MAX_QUEUED_JOBS.",
            retry_after_seconds=BACK_SECONDS,
        )


def check_storage(session: Session, project_id: str, size_bytes: int, limit: int | None) -> None:
    """Before `size_bytes` more are stored. Raises QuotaExceeded; of several at once, no more pass than fit."""
    if limit is None:
        return
    projects.lock(session, project_id)
    stored = usage.stored_bytes(session, project_id)
    if stored + size_bytes > limit:
        raise QuotaExceeded(
            f"The project {project_id} stores {stored:,} bytes and may store {limit:,}: {size_bytes:,} more do not "
            "fit. Delete data sets, jobs or models. The operator can raise PRETUNE_MAX_STORED_BYTES.",
            retry_after_seconds=BACK_SECONDS,
        )
