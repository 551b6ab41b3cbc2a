"""The processes that train and answer, as far as they have been heard of lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.db import workers
from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class LivingWorkers:
    trainers: Sequence[WorkerRow]
    replicas: Sequence[WorkerRow]


def living_workers(database: Database, settings: Settings) -> LivingWorkers:
    with database.reading() as session:
        since = now(session) - timedelta(seconds=3 * settings.heartbeat_seconds)
        return LivingWorkers(workers.live(session, "trainer", since), workers.live(session, "inference", since))
