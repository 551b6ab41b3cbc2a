"""When the client asks again, and when it gives up: with the service's limits, and a replica that is busy or slow."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from app.storage import FolderStore
from tests.app.test_inference_client import enlist
from tests.factories import make_model
from tests.openai.test_broken_streams import on_a_port

GENERATED = b'{"text":"fox","finish_reason":"stop","num_prompt_tokens":1,"num_tokens":1}'
BUSY = json.dumps({"code": "overloaded", "message": "The replica is busy."}).encode()


class Replica:
    """In a replica's place: busy for the first calls, and then slow, or not."""

    def __init__(self, *, busy_calls: int = 0, answers: bool = True) -> None:
        self.busy_calls, self.answers, self.calls = busy_calls, answers, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.calls += 1
        if not self.answers:
            assert (await receive())["type"] == "http.disconnect"
            return
        busy = self.calls <= self.busy_calls
        status, headers = (429, [(b"retry-after", b"1")]) if busy else (200, [])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": BUSY if busy else GENERATED})


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path, valkey: str) -> Settings:
    shutil.copy(sqlite_template, tmp_path / "pretune.db")
    return Settings(
        data_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path / 'pretune.db'}",
        broker_url=valkey,
        heartbeat_seconds=60,  # the replica beats once
        requests_per_second=1,  # two may come at once
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    yield database
    database.dispose()


@contextmanager
def client_of(settings: Settings, database: Database, replica: Replica) -> Iterator[OpenAI]:
    with on_a_port(replica, lifespan="off") as address, on_a_port(create_app(settings), lifespan="on") as api:
        enlist(database, address)
        with OpenAI(api_key="none", base_url=f"http://{api}/openai/v1", timeout=30) as client:
            yield client


def test_a_client_that_calls_too_often_waits_as_long_as_it_is_told(settings: Settings, database: Database) -> None:
    with client_of(settings, database, Replica()) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            list_forever(client.with_options(max_retries=0))
        assert client.models.list().data == []
    assert caught.value.code == "rate_limited"
    assert caught.value.type == "rate_limit_error"
    assert caught.value.response.headers["retry-after"] == "1"


def list_forever(client: OpenAI) -> None:
    while True:
        client.models.list()


@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_replica_is_asked_again(settings: Settings, database: Database, stream: bool) -> None:
    model = make_model(database, FolderStore(settings.artifacts_dir)).id
    replica = Replica(busy_calls=1)
    with client_of(settings, database, replica) as client:
        options: dict[str, Any] = {"model": model, "prompt": "the"}
        with pytest.raises(openai.RateLimitError, match="busy") as caught:
            client.with_options(max_retries=0).completions.create(**options, stream=stream)
        assert (caught.value.code, caught.value.response.headers["retry-after"]) == ("overloaded", "1")
        replica.busy_calls = 2
        answer = client.completions.with_raw_response.create(**options)
    assert answer.retries_taken == 1
    assert answer.parse().choices[0].text == "fox"


def test_a_slow_answer_is_not_waited_for(settings: Settings, database: Database) -> None:
    model = make_model(database, FolderStore(settings.artifacts_dir)).id
    with client_of(settings, database, Replica(answers=False)) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3, max_retries=0).completions.create(model=model, prompt="the")
