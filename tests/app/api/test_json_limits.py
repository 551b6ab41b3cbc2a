"""What counts as JSON, on the real routes: strict, bounded, and cheap to refuse."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from app.api import strict_json
from app.api.strict_json import MAX_KEYS, StrictJson, check_json
from app.contract.errors import ServiceError
from app.settings import Settings

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

JSON = {"Content-Type": "application/json"}
#: Of processor time, so that a busy machine fails no test; the whole request has 0.1 s.
CHECK_SECONDS = 0.08


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"priority": NaN}', "line 1 column 14"),
        (b'{"priority": -Infinity}', "line 1"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "recursion limit"),
        (b'{"kind": ' + b"1" * 5_000 + b"}", "out of range"),
        (b'{"kind": "a", "kind": "b"}', 'duplicate key "kind"'),
        (b'{"metadata": {"a": "1", "a": "2"}}', 'duplicate key "a"'),
        (b'{"kind": "\xff"}', "unicode"),
        (b'{"kind": "\\ud800"}', "escape"),
        (b'\xef\xbb\xbf{"kind": "pretrain"}', "line 1 column 1"),
        (b'{"kind": "pretrain"} x', "trailing"),
        (b"{'kind': 'pretrain'}", "line 1"),
    ],
)
def test_what_is_no_strict_json_is_400_and_told_where(client: TestClient, body: bytes, told: str) -> None:
    answer = client.post("/v1/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    assert told in answer.json()["detail"]


def test_nesting_is_allowed_up_to_the_limit(settings: Settings) -> None:
    def nested(levels: int) -> bytes:
        return b"[" * levels + b'"]]]\\"[[["' + b"]" * levels

    check_json(nested(settings.max_json_depth), settings.max_json_depth)
    with pytest.raises(ServiceError, match="64 levels"):
        check_json(nested(settings.max_json_depth + 1), settings.max_json_depth)


def test_a_body_above_the_limit_is_413_told_or_not(client: TestClient, settings: Settings) -> None:
    body = b'{"name": "' + b"x" * settings.max_json_bytes + b'"}'

    def untold() -> object:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    for content in (body, untold()):
        answer = client.post("/v1/jobs", content=content, headers=JSON)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_too_many_keys_are_413(client: TestClient) -> None:
    body = json.dumps({f"key{number}": number for number in range(MAX_KEYS + 1)})
    answer = client.post("/v1/jobs", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


def test_a_body_that_never_ends_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anybody is asked who they are: it must cost little."""
    monkeypatch.setattr(strict_json, "BODY_SECONDS", 0.05)
    answered: list[Message] = []

    async def drip() -> Message:
        await asyncio.sleep(0.001)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def answer(message: Message) -> None:
        answered.append(message)

    async def reached(*_: object) -> None:
        raise AssertionError("no handler sees such a body")

    scope = {"type": "http", "method": "POST", "path": "/v1/jobs", "query_string": b"", "headers": []}
    asyncio.run(StrictJson(reached, max_bytes=1 << 20, max_depth=64, uploads=())(scope, drip, answer))
    assert answered[0]["status"] == 408
    assert b"request_too_slow" in answered[1]["body"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_of_another_type_is_415(client: TestClient, content_type: str) -> None:
    answer = client.post("/v1/jobs", content=b"{}", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer.json()["detail"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"])
def test_json_may_be_named_in_other_ways(client: TestClient, content_type: str) -> None:
    assert client.post("/v1/jobs", content=b"{}", headers={"Content-Type": content_type}).status_code == 422


def test_a_call_that_needs_no_body_needs_no_type(client: TestClient) -> None:
    assert client.post("/v1/jobs/job_1/cancel").status_code == 404
    assert client.post("/v1/jobs/job_1/cancel", headers=JSON).status_code == 404


def test_a_missing_body_is_told(client: TestClient) -> None:
    answer = client.post("/v1/jobs", content=b"", headers=JSON)
    assert answer.status_code == 422
    assert "needs a body" in answer.json()["detail"]


def test_a_body_that_comes_in_pieces_arrives_whole(client: TestClient) -> None:
    pieces = iter([b'{"kind": ', b'"pretrain", ', b'"bogus": 1}'])
    answer = client.post("/v1/jobs", content=pieces, headers=JSON)
    assert "bogus" in {error["location"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"[" * 1_000_000,
        lambda: json.dumps([[0.123456789] * 8] * 9_000).encode(),
        lambda: json.dumps([[[200] * 28] * 28] * 250).encode(),
        lambda: json.dumps(['quoted " text\n' * 30] * 2_000).encode(),
        lambda: b'"' + b'\\"' * 499_000 + b'"',
        lambda: b'"' * 1_000_000,
    ],
    ids=["deep", "vectors", "images", "texts", "escapes", "quotes"],
)
def test_a_body_of_a_megabyte_is_judged_quickly(make: Callable[[], bytes]) -> None:
    body, seconds = make(), []
    for _ in range(3):
        started_at = time.thread_time()
        try:
            check_json(body, 64)
        except ServiceError:
            pass
        seconds.append(time.thread_time() - started_at)
    assert min(seconds) < CHECK_SECONDS


@pytest.mark.parametrize("path", ["/v1/jobs/%00", "/v1/datasets/%00/preview", "/v1/models/a%00b", "/nowhere/%00"])
def test_a_nul_in_a_path_is_the_users_mistake(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 422


@pytest.mark.parametrize("query", ["name=%00", "cursor=a%00b", "status=%00", "x%00=1"])
def test_a_nul_in_a_query_is_the_users_mistake(client: TestClient, query: str) -> None:
    answer = client.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == "query"
