"""PostgreSQL and Valkey with passwords and over TLS: who they are is verified, and no password is ever told."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
import redis
from sqlalchemy import text

from app.contract.job import JobStatus
from app.db.session import Database
from app.dispatch import Dispatcher
from app.embedded.errors import CannotStart
from app.embedded.preparation import migrate
from app.main import create_app
from app.settings import Settings
from app.storage import FolderStore
from tests.support.local_client import local_client
from tests.support.postgres import TEMPLATE, PostgresServer
from tests.support.tls import Authority, Front, front
from tests.support.training_jobs import TrainingJobs
from tests.support.valkey import ValkeyServer, valkey_server
from tests.support.waiting import wait_until
from tests.support.workers import Workers

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Ours, but for another host."""
    return Authority(tmp_path_factory.mktemp("tls") / "elsewhere", "elsewhere.example")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path_factory.mktemp("broker")) as server:
        with server.connect() as connection:
            connection.config_set("requirepass", PASSWORD)
        yield server


@pytest.fixture
def broker_front(broker: ValkeyServer, authority: Authority) -> Iterator[Front]:
    with front(broker.socket, authority) as opened:
        yield opened


def broker_url(opened: Front, authority: Authority, password: str = PASSWORD) -> str:
    return f"rediss://:{password}@localhost:{opened.port}/0?ssl_ca_certs={authority.certificate}"


@pytest.fixture
def postgres_front(postgres: PostgresServer, authority: Authority) -> Iterator[Front]:
    with front(postgres.socket, authority, postgres=True) as opened:
        yield opened


@pytest.fixture
def secured_database(postgres: PostgresServer) -> Iterator[str]:
    """Its name, which is its owner's too."""
    with postgres.new_database(TEMPLATE) as url:
        name = urlsplit(url).path.lstrip("/")
        with postgres.secured_role(name, PASSWORD):
            yield name


def database_url(opened: Front, name: str, authority: Authority, password: str = PASSWORD) -> str:
    trust = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    return f"postgresql://{name}:{password}@localhost:{opened.port}/{name}?{trust}"


def test_a_database_over_tls_is_migrated_and_asked(
    postgres_front: Front, secured_database: str, authority: Authority
) -> None:
    settings = Settings(database_url=database_url(postgres_front, secured_database, authority))
    migrate(settings)
    database = Database(settings.resolved_database_url)
    with database.transaction() as session:
        assert session.scalar(text("SELECT current_user")) == secured_database
    database.dispose()
    assert postgres_front.num_encrypted > 0


def test_a_database_that_is_not_who_it_should_be_is_told_without_the_password(
    postgres: PostgresServer, postgres_front: Front, secured_database: str, stranger: Authority, elsewhere: Authority
) -> None:
    with pytest.raises(CannotStart, match="certificate verify failed") as failure:
        migrate(Settings(database_url=database_url(postgres_front, secured_database, stranger)))
    assert PASSWORD not in str(failure.value)
    with (
        front(postgres.socket, elsewhere, postgres=True) as opened,
        pytest.raises(CannotStart, match=r"elsewhere\.example") as failure,
    ):
        migrate(Settings(database_url=database_url(opened, secured_database, elsewhere)))
    assert PASSWORD not in str(failure.value)


def test_a_password_that_the_database_refuses_is_not_told(
    postgres_front: Front, secured_database: str, authority: Authority
) -> None:
    url = database_url(postgres_front, secured_database, authority, "wrong-horse")
    with pytest.raises(CannotStart, match="password authentication failed") as failure:
        migrate(Settings(database_url=url))
    assert "wrong-horse" not in str(failure.value)


def test_an_address_that_is_none_is_told_without_the_password() -> None:
    with pytest.raises(CannotStart, match="PRETUNE_DATABASE_URL names no database") as failure:
        migrate(Settings(database_url=f"postgresql:/me:{PASSWORD}@localhost:port/a"))
    assert PASSWORD not in str(failure.value)


@pytest.mark.databases("sqlite")
def test_a_broker_over_tls_is_ready_and_takes_wake_ups(
    settings: Settings, broker: ValkeyServer, broker_front: Front, authority: Authority
) -> None:
    secured = settings.model_copy(update={"broker_url": broker_url(broker_front, authority)})
    with local_client(create_app(secured)) as client:
        assert client.get("/readyz").json()["checks"]["broker"] == "ok"
    dispatcher = Dispatcher(secured)
    queue = f"queue-{uuid4().hex}"
    dispatcher.wake([queue])
    dispatcher.close()
    with redis.Redis(unix_socket_path=str(broker.socket), password=PASSWORD) as connection:
        assert connection.llen(queue) == 1
    assert broker_front.num_encrypted >= 2


@pytest.fixture
def deceivers(
    broker: ValkeyServer, broker_front: Front, stranger: Authority, elsewhere: Authority
) -> Iterator[list[str]]:
    """One that nobody vouches for, and one whose certificate is another host's."""
    with front(broker.socket, elsewhere) as other:
        yield [broker_url(broker_front, stranger), broker_url(other, elsewhere)]


@pytest.mark.databases("sqlite")
def test_a_broker_that_is_not_who_it_should_be_is_told_without_the_password(
    settings: Settings, deceivers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for url in deceivers:
        caplog.clear()
        deceived = settings.model_copy(update={"broker_url": url})
        with local_client(create_app(deceived)) as client:
            assert client.get("/readyz").json()["checks"]["broker"] == "error"
        assert "certificate verify failed" in caplog.text
        caplog.clear()
        dispatcher = Dispatcher(deceived)
        dispatcher.wake(["cpu"])
        dispatcher.close()
        assert "wake_up_lost" in caplog.text
        assert "certificate verify failed" in caplog.text
        assert PASSWORD not in caplog.text


def test_a_certificate_is_asked_for_even_where_the_url_says_nothing_of_it() -> None:
    for url in ("rediss://host/0", "rediss://host/0?ssl_ca_certs=/ca.pem"):
        asked = parse_qs(urlsplit(Settings(broker_url=url).resolved_broker_url).query)
        assert asked["ssl_cert_reqs"] == ["required"]
    for url in ("rediss://host/0?ssl_cert_reqs=none", "redis://host/0"):
        assert Settings(broker_url=url).resolved_broker_url == url


@pytest.fixture
def secured(
    settings: Settings, postgres_front: Front, secured_database: str, broker_front: Front, authority: Authority
) -> Settings:
    return settings.model_copy(
        update={
            "broker_url": broker_url(broker_front, authority),
            "database_url": database_url(postgres_front, secured_database, authority),
        }
    )


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_a_trainer_hears_over_tls_and_its_log_holds_no_password(secured: Settings, tmp_path: Path) -> None:
    """By messages alone: it looks by itself once in ten minutes."""
    database = Database(Settings(database_url=secured.database_url).resolved_database_url)
    training_jobs = TrainingJobs(database, FolderStore(secured.artifacts_dir), tmp_path)
    workers, dispatcher = Workers(secured, tmp_path), Dispatcher(secured)

    def heard(job_id: str) -> bool:
        dispatcher.wake(["cpu"])
        return training_jobs.get(job_id).status == JobStatus.SUCCEEDED

    try:
        workers.start(idle_poll_seconds=600.0)
        workers.wait_until_live()
        job_id = training_jobs.submit(steps=2)
        wait_until(lambda: heard(job_id), 60, "a message wakes it")
    finally:
        workers.kill_all()
        dispatcher.close()
        database.dispose()
    assert PASSWORD not in workers.log(0).read_text()
