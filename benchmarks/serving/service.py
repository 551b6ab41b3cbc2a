"""An api and a replica as processes of their own, over SQLite: the whole way of a request, as a user has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from app.contract.inference import ModelReference
from app.db import workers
from app.db.migrate import upgrade
from app.db.session import Database, now
from app.settings import Settings
from app.storage import FolderStore
from tests.support.api_server import ApiServer
from tests.support.replica_server import ReplicaServer
from tests.support.valkey import valkey_server
from tests.support.waiting import wait_until
from tests.worker.serving.replicas import register

START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Service:
    """The api runs; the replica is the benchmark's to start and to kill."""

    settings: Settings
    database: Database
    api: ApiServer
    replica: ReplicaServer

    def add(self, folder: Path, model_id: str) -> ModelReference:
        """A model folder as a model of the project `default`."""
        return register(self.database, FolderStore(self.settings.artifacts_dir), folder, model_id)

    def start_replica(self) -> None:
        """Until it is on the list, beside the row of one that was killed at its address."""
        before = self._listed()
        self.replica.start()
        wait_until(lambda: self._listed() - before, START_SECONDS, "the replica beats")

    def _listed(self) -> set[str]:
        with self.database.reading() as session:
            return {row.id for row in workers.live(session, "inference", now(session) - timedelta(days=1))}


@contextmanager
def service(folder: Path, **changes: object) -> Iterator[Service]:
    """`changes` are settings. One thread computes."""
    (folder / "broker").mkdir(parents=True, exist_ok=True)
    with valkey_server(folder / "broker") as broker:
        url = f"sqlite:///{folder / 'pretune.db'}"
        upgrade(url)
        defaults = {"inference_threads": 1, "heartbeat_seconds": 0.5}
        settings = Settings.model_validate(
            {"data_dir": folder / "data", "database_url": url, "broker_url": broker.url} | defaults | changes
        )
        database = Database(settings.resolved_database_url)
        api, replica = ApiServer(settings, folder), ReplicaServer(settings, folder)
        try:
            api.start()
            api.wait_until_ready()
            yield Service(settings, database, api, replica)
        finally:
            replica.kill()
            api.close()
            database.dispose()
