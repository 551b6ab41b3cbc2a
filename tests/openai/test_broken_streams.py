"""A stream that breaks raises in the client: a silent end would pass for success."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
import pytest
import uvicorn
from openai import OpenAI

from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from app.storage import FolderStore
from tests.app.test_inference_client import enlist
from tests.factories import make_model
from tests.worker.serving.replicas import serving

PIECES = [b'data: {"text":"the "}\n\ndata: {"te', b'xt":"quick"}\n\n']
ENDINGS = {
    "error": b'event: error\ndata: {"error":{"code":"internal","message":"It broke.","errors":[]}}\n\n',
    "half": b'data: {"text":"bro',
    "silence": b"",
}


async def breaking(scope: Any, receive: Any, send: Any) -> None:
    """In a replica's place: two pieces, and then the end that the prompt names."""
    body = (await receive())["body"]
    ending = next(name for name in ENDINGS if f'"prompt":"{name}"'.encode() in body)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in [*PIECES, ENDINGS[ending]]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if ending != "half":
        await send({"type": "http.response.body", "body": b""})
    else:
        raise ConnectionAbortedError("the replica dies")


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path, valkey: str) -> Settings:
    shutil.copy(sqlite_template, tmp_path / "pretune.db")
    return Settings(
        data_dir=tmp_path,
        database_url=f"sqlite:///{tmp_path / 'pretune.db'}",
        broker_url=valkey,
        heartbeat_seconds=60,  # the replica beats once
    )


@pytest.fixture
def model(settings: Settings) -> Iterator[str]:
    """One that is never loaded."""
    database = Database(settings.resolved_database_url)
    yield make_model(database, FolderStore(settings.artifacts_dir)).id
    database.dispose()


@pytest.fixture
def client(settings: Settings) -> Iterator[OpenAI]:
    """Of an api without keys, whose only replica breaks every stream."""
    database = Database(settings.resolved_database_url)
    with on_a_port(breaking, lifespan="off") as replica, on_a_port(create_app(settings), lifespan="on") as api:
        enlist(database, replica)
        with OpenAI(api_key="none", base_url=f"http://{api}/openai/v1", timeout=10) as client:
            yield client
    database.dispose()


@contextmanager
def on_a_port(application: Any, lifespan: Literal["on", "off"]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application, log_level="critical", lifespan=lifespan, timeout_graceful_shutdown=1)
        with serving(uvicorn.Server(config), listener):
            yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("ending", "told"),
    [("error", "It broke."), ("half", "The inference replica went away."), ("silence", "The generation broke off.")],
)
def test_a_stream_that_breaks_raises(client: OpenAI, model: str, ending: str, told: str) -> None:
    texts = []
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012  the pieces before it count
        for chunk in client.completions.create(model=model, prompt=ending, stream=True):
            texts.append(chunk.choices[0].text)  # noqa: PERF401  which would be lost with the error
    assert texts == ["the ", "quick"]
    assert caught.value.message == told
    assert caught.value.type == "server_error"


def test_a_broken_stream_ends_in_order(client: OpenAI, model: str) -> None:
    """The error is an event, and `[DONE]` ends the stream as it ends a whole one."""
    body = {"model": model, "prompt": "silence", "stream": True}
    answer = httpx2.post(f"{client.base_url}completions", json=body)
    *_, error, done = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert json.loads(error)["error"]["code"] == "unavailable"
    assert done == "[DONE]"
    assert answer.headers["content-type"].startswith("text/event-stream")
