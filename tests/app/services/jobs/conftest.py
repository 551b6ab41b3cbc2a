"""The service of jobs over a real database, and a record of whom it wakes."""

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from app.db.session import Database
from app.services.jobs import Jobs
from app.settings import Settings
from tests.factories import make_project


@dataclass
class RecordedWakes:
    calls: list[frozenset[str]] = field(default_factory=list)

    def wake(self, queues: Collection[str]) -> None:
        self.calls.append(frozenset(queues))


@pytest.fixture
def wakes() -> RecordedWakes:
    return RecordedWakes()


@pytest.fixture
def jobs(database: Database, settings: Settings, wakes: RecordedWakes) -> Jobs:
    make_project(database)
    return Jobs(database, wakes, settings)
