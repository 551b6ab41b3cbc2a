"""Bad input over the real socket: a clear 4xx that names the value, quickly, and nothing stored."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx2
import pytest

from tests.e2e.running import RunningService
from tests.e2e.specs import pretrain

NO_DATASET = "ds_" + "0" * 32


@pytest.fixture
def http(sqlite_service: RunningService) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sqlite_service.url, timeout=30) as client:
        yield client


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    spec = deepcopy(spec)
    *parents, last = path.split(".")
    place = spec
    for name in parents:
        place = place[name]
    place[last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "location"),
    [
        ("method.type", "telepathy", "method"),
        ("training.bach_size", 8, "training.bach_size"),
        ("method.architecture.num_heads", 3, "method.architecture"),
        ("method.architecture.num_heads", "2", "method.architecture.num_heads"),
        ("training.duration.steps", 0, "training.duration.steps"),
    ],
)
def test_a_wrong_field_is_named(http: httpx2.Client, path: str, value: Any, location: str) -> None:
    answer = http.post("/v1/jobs", json=changed(pretrain(NO_DATASET), path, value))
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "validation_failed"
    assert any(error["location"].startswith(location) for error in problem["errors"]), problem["errors"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("filename", "content", "told"),
    [
        ("empty.csv", b"", "empty"),
        ("broken.csv", b"text,label\n" + b"fine,good\n" * 15 + b"broken\n" + b"fine,bad\n", "line 17"),
    ],
)
def test_a_bad_file_is_told_and_not_stored(http: httpx2.Client, filename: str, content: bytes, told: str) -> None:
    before = http.get("/v1/datasets?limit=200").json()["data"]
    answer = http.post("/v1/datasets", files={"file": (filename, content)})
    assert answer.status_code == 422
    assert told in answer.text
    assert http.get("/v1/datasets?limit=200").json()["data"] == before


def test_what_is_not_there_is_404(http: httpx2.Client) -> None:
    for path in ("/v1/jobs/job_" + "0" * 32, "/v1/models/none", f"/v1/datasets/{NO_DATASET}", "/v1/nonsense"):
        answer = http.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["code"] == "not_found"


def test_a_foreign_host_name_is_refused_on_loopback(http: httpx2.Client) -> None:
    answer = http.get("/v1/datasets", headers={"Host": "rebound.example.com"})
    assert 400 <= answer.status_code < 500
