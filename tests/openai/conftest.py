"""The unmodified `openai` client over a socket, before a real api process and a real replica with tiny models."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from openai import OpenAI

from app.db.migrate import upgrade
from app.db.session import Database
from app.services.keys import Keys
from app.settings import Settings
from app.storage import FolderStore
from tests.support.waiting import wait_until
from tests.worker.serving import models, replicas

PROJECT = "research"
START_SECONDS = 60


@pytest.fixture(scope="package")
def settings(tmp_path_factory: pytest.TempPathFactory, valkey: str) -> Settings:
    folder = tmp_path_factory.mktemp("openai")
    url = f"sqlite:///{folder / 'pretune.db'}"
    upgrade(url)
    return Settings(data_dir=folder, database_url=url, broker_url=valkey, inference_threads=1)


@pytest.fixture(scope="package")
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="package")
def store(settings: Settings) -> FolderStore:
    return FolderStore(settings.artifacts_dir)


@pytest.fixture(scope="package")
def key(database: Database) -> str:
    return Keys(database).create(PROJECT).text


@pytest.fixture(scope="package")
def api(settings: Settings, key: str) -> Iterator[str]:
    """The address of an api process."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _api_process(settings, listener) as process:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        wait_until(lambda: _answers(url, process), START_SECONDS, "the api answers")
        yield url


@pytest.fixture(scope="package")
def replica(settings: Settings, database: Database) -> Iterator[str]:
    with replicas.running(settings) as address:
        yield address


@pytest.fixture
def client(api: str, key: str) -> Iterator[OpenAI]:
    with OpenAI(api_key=key, base_url=f"{api}/openai/v1", timeout=30) as client:
        yield client


@pytest.fixture(scope="package")
def language_model(database: Database, store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    return register(database, store, models.language_model(tmp_path_factory.mktemp("lm") / "m"), "model_language")


@pytest.fixture(scope="package")
def instruction_model(database: Database, store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    return register(database, store, models.instruction_model(tmp_path_factory.mktemp("it") / "m"), "model_instructed")


@pytest.fixture(scope="package")
def autoencoder(database: Database, store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> str:
    return register(database, store, models.feature_autoencoder(tmp_path_factory.mktemp("ae") / "m"), "model_coder")


def register(database: Database, store: FolderStore, folder: Path, model_id: str) -> str:
    """A model folder as a model of the project."""
    return replicas.register(database, store, folder, model_id, PROJECT).model_id


@contextmanager
def _api_process(settings: Settings, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "PRETUNE_DATA_DIR": str(settings.data_dir),
        "PRETUNE_DATABASE_URL": str(settings.database_url),
        "PRETUNE_BROKER_URL": str(settings.broker_url),
    }
    listener.set_inheritable(True)
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--fd", str(listener.fileno()), "--log-level", "error"]
    with (settings.data_dir / "api.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, pass_fds=[listener.fileno()])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the api ended with {process.returncode}"
    try:
        return httpx2.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx2.TransportError:
        return False
