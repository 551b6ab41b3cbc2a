"""Two services beside each other for the whole session: SQLite, and PostgreSQL with the embedded broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pretune import Client
from tests.e2e.running import RunningService, running


@pytest.fixture(scope="session")
def sqlite_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("sqlite") / "data") as service:
        yield service


@pytest.fixture(scope="session")
def postgresql_service(
    tmp_path_factory: pytest.TempPathFactory, new_postgres_database: str
) -> Iterator[RunningService]:
    data_dir = tmp_path_factory.mktemp("postgresql") / "data"
    with running(data_dir, PRETUNE_DATABASE_URL=new_postgres_database) as service:
        yield service


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest) -> RunningService:
    service: RunningService = request.getfixturevalue(f"{request.param}_service")
    return service


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
