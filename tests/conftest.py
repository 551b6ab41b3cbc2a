"""Real stores for every test that asks: SQLite and PostgreSQL, a Valkey, a folder, and the api in this process."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

from app.db.migrate import upgrade
from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from app.storage import FolderStore
from tests.support.local_client import local_client
from tests.support.objects import CREDENTIALS, ObjectServer, Way, way_to
from tests.support.objects import object_server as start_object_server
from tests.support.postgres import TEMPLATE, PostgresServer, postgres_server
from tests.support.valkey import valkey_server

#: Little enough to be exceeded in a test.
MAX_UPLOAD_BYTES = 2 << 20


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> None:
    """Whoever runs the tests may have a service of their own."""
    for name in [name for name in os.environ if name.startswith("PRETUNE_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """In a folder of its own: pytest's are closed to the user that PostgreSQL runs as where we are root."""
    with tempfile.TemporaryDirectory(prefix="pretune-postgres-") as folder, postgres_server(Path(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def new_postgres_database(postgres: PostgresServer) -> Iterator[str]:
    """An empty one, which nobody has migrated."""
    with postgres.new_database() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "pretune.db"
    upgrade(f"sqlite:///{path}")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if _is_wanted(item)]


def _is_wanted(item: pytest.Item) -> bool:
    """Each test with each database, unless `databases` says with which."""
    marker, call = item.get_closest_marker("databases"), getattr(item, "callspec", None)
    return marker is None or call is None or call.params.get("database", marker.args[0]) in marker.args


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Migrated and empty, but for the project `default`."""
    if request.param == "sqlite":
        path = tmp_path / "data" / "pretune.db"
        path.parent.mkdir()
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield from _opened(f"sqlite:///{path}")
    else:
        postgres: PostgresServer = request.getfixturevalue("postgres")
        with postgres.new_database(TEMPLATE) as url:
            yield from _opened(url)


def _opened(url: str) -> Iterator[Database]:
    database = Database(url.replace("postgresql://", "postgresql+psycopg://", 1))
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_server(tmp_path_factory.mktemp("broker")) as server:
        yield server.url


@pytest.fixture
def valkey_url(valkey: str) -> str:
    """An empty broker."""
    with redis.Redis(unix_socket_path=valkey.removeprefix("redis+socket://")) as connection:
        connection.flushall()
    return valkey


@pytest.fixture(scope="session")
def object_server() -> Iterator[ObjectServer]:
    with start_object_server() as server:
        yield server


@pytest.fixture
def bucket(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty one, to which the environment tells the way."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": object_server.endpoint}.items():
        monkeypatch.setenv(name, value)
    return object_server.new_bucket()


@pytest.fixture
def way(object_server: ObjectServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """The way to the bucket, which a test may break."""
    with way_to(object_server) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
        yield way


@pytest.fixture
def settings(database: Database, valkey_url: str, tmp_path: Path) -> Settings:
    url = database.engine.url.render_as_string(hide_password=False)
    return Settings(
        data_dir=tmp_path / "data", database_url=url, broker_url=valkey_url, max_upload_bytes=MAX_UPLOAD_BYTES
    )


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    return FolderStore(settings.artifacts_dir)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with local_client(create_app(settings)) as client:
        yield client
