"""Whether the service lives and is ready, which version it is, and what Prometheus is told."""

import socket
import time
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.support.local_client import local_client
from tests.support.objects import ObjectServer

#: `pretune up` gives up after one second; a busy machine needs some more.
READY_SECONDS = 3.0


@pytest.fixture
def mute_broker() -> Iterator[str]:
    """Takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_service_whose_stores_answer_is_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "broker": "ok", "store": "ok"}}


def test_a_broker_that_hangs_is_told_in_bounded_time(settings: Settings, mute_broker: str) -> None:
    hanging = settings.model_copy(update={"broker_url": mute_broker})
    with local_client(create_app(hanging)) as client:
        for _ in range(3):
            started_at = time.monotonic()
            answer = client.get("/readyz")
            assert time.monotonic() - started_at < READY_SECONDS
            assert answer.status_code == 503
            assert answer.json() == {"status": "error", "checks": {"database": "ok", "broker": "error", "store": "ok"}}
        assert client.get("/healthz").status_code == 200


def test_a_broker_that_is_not_there_is_told(settings: Settings) -> None:
    away = settings.model_copy(update={"broker_url": "redis+socket:///nowhere/valkey.sock"})
    with local_client(create_app(away)) as client:
        assert client.get("/readyz").json()["checks"]["broker"] == "error"


def test_a_store_that_cannot_be_written_is_told_until_it_can(client: TestClient, settings: Settings) -> None:
    settings.artifacts_dir.rmdir()  # it was looked at when the api started
    settings.artifacts_dir.write_text("in the way")
    assert client.get("/readyz").json()["checks"]["store"] == "error"
    settings.artifacts_dir.unlink()
    assert client.get("/readyz").status_code == 200


@pytest.mark.databases("sqlite")
def test_credentials_that_the_object_store_refuses_are_told_at_start_and_in_readiness(
    settings: Settings, bucket: str, object_server: ObjectServer, caplog: pytest.LogCaptureFixture
) -> None:
    in_bucket = settings.model_copy(update={"store": f"s3://{bucket}/prefix"})
    with object_server.letting_nobody_in(), local_client(create_app(in_bucket)) as client:
        assert "AWS_ACCESS_KEY_ID" in caplog.text
        assert client.get("/readyz").json()["checks"]["store"] == "error"
    with local_client(create_app(in_bucket)) as client:
        assert client.get("/readyz").json()["checks"]["store"] == "ok"


def test_the_version_is_that_of_the_package(client: TestClient) -> None:
    assert client.get("/v1/version").json() == {"version": version("pretune")}
