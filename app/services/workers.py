"""The processes that train and answer, as far as they have been heard of in the last day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field

from app.contract.base import Contract
from app.db import attempts, workers
from app.db.session import Database, now
from app.db.tables import JobRow, WorkerRow
from app.db.workers import Role, State
from app.services.paging import cut, id_before
from app.settings import Settings


class WorkerView(Contract):
    """`state` is `silent` after three missed heartbeats: the process died, hangs or cannot reach the database. Its
    jobs go to others when their leases end. One that ends in order is no longer listed, a silent one for a day.
    """

    id: str
    name: str | None = Field(description="The machine and the process id there.")
    role: Role
    state: State
    version: str | None
    queues: list[str]
    devices: list[str]
    labels: list[str] = Field(description="What jobs may ask of it by resources.labels.")
    jobs: list[str] = Field(description="Those of this project that it runs now.")
    num_jobs: int = Field(description="That it runs now, of all projects.")
    num_models: int = Field(description="That it holds in memory to answer with.")
    started_at: datetime
    heartbeat_at: datetime


class WorkerPage(Contract):
    data: list[WorkerView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Workers:
    database: Database
    settings: Settings

    def page(self, project_id: str, *, state: State | None, cursor: str | None, limit: int) -> WorkerPage:
        """Workers belong to no project; their jobs do."""
        before_id = id_before(cursor, "wrk")
        with self.database.reading() as session:
            since = now(session) - self.settings.silence
            found = workers.page(session, since, state, before_id=before_id, limit=limit + 1)
            rows, next_cursor = cut(found, limit)
            running = attempts.running(session, [row.id for row in rows])
        views = [_view(row, since, [job for job in running if job.lease_owner == row.id], project_id) for row in rows]
        return WorkerPage(data=views, next_cursor=next_cursor)


def _view(row: WorkerRow, since: datetime, running: Sequence[JobRow], project_id: str) -> WorkerView:
    return WorkerView.model_validate(
        {name: getattr(row, name) for name in _PLAIN}
        | {
            "state": "live" if row.heartbeat_at >= since else "silent",
            "labels": row.labels or [],
            "jobs": [job.id for job in running if job.project_id == project_id],
            "num_jobs": len(running),
            "num_models": len(row.loaded),
        }
    )


#: The fields that are columns.
_PLAIN = set(WorkerView.model_fields) & set(WorkerRow.__table__.columns.keys())
