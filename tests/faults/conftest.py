"""A service whose processes are killed, stopped and frozen, and what must hold when a fault is over.

Who is to lose its lease has one of `LEASE_SECONDS`; who takes the job over has a user's, because a busy machine may
stand still for seconds. Training processes are scripted, unless torch is what is tried.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.support.api_server import ApiServer
from tests.support.invariants import wait_for_invariants
from tests.support.postgres import TEMPLATE, PostgresServer, postgres_server
from tests.support.processes import processes_of
from tests.support.scripted_trainer import SCRIPTED_COMMAND
from tests.support.training_jobs import TrainingJobs
from tests.support.valkey import ValkeyServer, valkey_server
from tests.support.waiting import wait_until
from tests.support.workers import Workers
from worker.supervisor.trainer import Trainer

LEASE_SECONDS = 3.0
TIMES: dict[str, Any] = {
    "lease_seconds": 30.0,
    "heartbeat_seconds": 0.3,
    "stop_poll_seconds": 0.3,
    "stop_grace_seconds": 5.0,
    "cancel_grace_seconds": 1.0,
    "idle_poll_seconds": 0.1,
    "housekeeping_seconds": 0.2,
    "threads": 1,
    "device": "cpu",
}
#: No poll comes to the aid of a message within a test.
MESSAGES_ONLY: dict[str, Any] = {"idle_poll_seconds": 600.0}

#: The fixtures by which a test starts processes.
PROCESSES = {"workers", "start_trainer", "api_server"}

Measure = Callable[[str], AbstractContextManager[None]]
StartTrainer = Callable[..., Trainer]


class Damage:
    """Spoils stored files as a failing disk would, and remembers which."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.keys: set[str] = set()

    def flip_one_bit(self, key: str) -> None:
        data = bytearray(self._noted(key).read_bytes())
        data[len(data) // 2] ^= 1
        (self._root / key).write_bytes(data)

    def truncate(self, key: str) -> None:
        path = self._noted(key)
        path.write_bytes(path.read_bytes()[:-1])

    def _noted(self, key: str) -> Path:
        self.keys.add(key)
        return self._root / key


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=TIMES)


@pytest.fixture
def damage(settings: Settings) -> Damage:
    return Damage(settings.artifacts_dir)


@pytest.fixture
def training_jobs(database: Database, store: FolderStore, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, store, tmp_path)


@pytest.fixture
def no_process_stays(tmp_path: Path) -> Iterator[None]:
    """Whoever starts processes asks for this: it looks when they should all be gone."""
    yield
    wait_until(lambda: not processes_of(tmp_path), 30, f"all end, but {processes_of(tmp_path)}")


@pytest.fixture
def workers(no_process_stays: None, settings: Settings, tmp_path: Path) -> Iterator[Workers]:
    """Trainers that are processes of their own."""
    workers = Workers(settings, tmp_path)
    yield workers
    workers.kill_all()


@pytest.fixture
def api_server(no_process_stays: None, settings: Settings, tmp_path: Path) -> Iterator[ApiServer]:
    server = ApiServer(settings, tmp_path)
    yield server
    server.close()


@pytest.fixture
def start_trainer(no_process_stays: None, settings: Settings) -> Iterator[StartTrainer]:
    """Trainers in this process: enough where it is their training processes that suffer."""
    started = []

    def start(command: tuple[str, ...] = SCRIPTED_COMMAND, **changes: Any) -> Trainer:
        trainer = Trainer(settings.model_copy(update=changes), command)
        started.append(trainer)
        trainer.start()
        return trainer

    yield start
    for trainer in started:
        trainer.stop()


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One that a test may do anything to."""
    with valkey_server(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture
def crashing_postgres() -> Iterator[PostgresServer]:
    """One that a test may crash; see `postgres` for why it has a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="pretune-postgres-") as folder,
        postgres_server(Path(folder), crashes=True) as server,
    ):
        yield server


@pytest.fixture
def crashing_database(crashing_postgres: PostgresServer) -> Iterator[Database]:
    with crashing_postgres.new_database(TEMPLATE) as url:
        database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1))
        yield database
        database.dispose()


@pytest.fixture(autouse=True)
def invariants(request: pytest.FixtureRequest) -> Iterator[None]:
    """They hold after every test that has a database. Looked at while its processes still work, hence asked for here:
    whatever is under way must have an owner."""
    if "database" not in request.fixturenames:
        yield
        return
    for name in PROCESSES & set(request.fixturenames):
        request.getfixturevalue(name)
    database, store, damage = (request.getfixturevalue(name) for name in ("database", "store", "damage"))
    yield
    wait_for_invariants(database, store, damage.keys)


@pytest.fixture
def measure(record_property: Callable[[str, object], None]) -> Measure:
    """How long a block took goes into the report of the run, for docs/faults.md; no test judges by it."""

    @contextmanager
    def measured(what: str) -> Iterator[None]:
        began_at = time.monotonic()
        yield
        record_property(what, time.monotonic() - began_at)

    return measured
