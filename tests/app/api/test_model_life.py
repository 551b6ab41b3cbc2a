"""Loading, unloading and pinning over HTTP, before real replicas."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.api.deps import Services
from app.contract.inference import ModelReference
from app.db import workers
from app.db.session import Database, now
from app.settings import Settings
from app.storage import FolderStore
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.serving.figures import Figures
from tests.worker.serving.replicas import register, running

pytestmark = pytest.mark.databases("sqlite")

DEADLINE_SECONDS = 20
FEATURES = {"inputs": [[1, 2, 3, 4]]}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"inference_threads": 1, "heartbeat_seconds": 0.2})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models of equal size."""
    return [models.feature_regressor(tmp_path_factory.mktemp("m") / "m", seed) for seed in range(4)]


@pytest.fixture
def rows(database: Database, store: FolderStore, folders: list[Path]) -> list[ModelReference]:
    return [register(database, store, folder, f"model_{number}") for number, folder in enumerate(folders)]


@pytest.fixture
def writer(database: Database, store: FolderStore, tmp_path: Path) -> ModelReference:
    return register(database, store, models.language_model(tmp_path / "m"), "model_writer")


@contextmanager
def replica(settings: Settings, database: Database, **changes: Any) -> Iterator[str]:
    """One that is on the list; its id."""
    before = {row.id for row in listed(database)}
    with running(settings.model_copy(update=changes)):
        [found] = wait_until(
            lambda: [row.id for row in listed(database) if row.id not in before], DEADLINE_SECONDS, "the replica beats"
        )
        yield found


def listed(database: Database) -> list[Any]:
    with database.reading() as session:
        return list(workers.live(session, "inference", now(session) - timedelta(seconds=60)))


def call(client: TestClient, method: str, path: str, **options: Any) -> Any:
    answer = client.request(method, f"/v1/models/{path}", **options)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def refusal(answer: httpx2.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json()["detail"]


def test_a_model_is_loaded_and_unloaded_on_demand(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    call(client, "PUT", "model_0/aliases/best")
    with replica(settings, database) as replica_id:
        first = call(client, "POST", "best/load")
        assert (first["model_id"], first["replica_id"]) == ("model_0", replica_id)
        assert first["load_seconds"] > 0
        assert call(client, "POST", "model_0/load") == {**first, "load_seconds": 0}
        assert call(client, "GET", "model_0")["loaded_on"] == [replica_id]
        assert [view["loaded_on"] for view in call(client, "GET", "")["data"]] == [[], [], [], [replica_id]]
        assert call(client, "POST", "model_0/predict", json=FEATURES)["outputs"]
        assert call(client, "POST", "best/unload") == {"model_id": "model_0", "unloaded_from": [replica_id]}
        assert call(client, "GET", "model_0")["loaded_on"] == []
        assert call(client, "POST", "model_0/unload")["unloaded_from"] == []
        assert call(client, "POST", "model_0/predict", json=FEATURES)["outputs"]


def test_without_a_replica_nothing_is_loaded_and_nothing_is_held(
    client: TestClient, rows: list[ModelReference]
) -> None:
    answer = client.post("/v1/models/model_0/load")
    assert refusal(answer)[:2] == (503, "unavailable")
    assert answer.headers["Retry-After"]
    assert call(client, "POST", "model_0/unload")["unloaded_from"] == []


def test_a_model_too_large_for_a_replica_is_the_users_to_mend(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    with replica(settings, database, inference_cache_bytes=10):
        for path, body in (("load", None), ("predict", FEATURES)):
            status, code, detail = refusal(client.post(f"/v1/models/model_0/{path}", json=body))
            assert (status, code) == (422, "too_large")
            assert f"{rows[0].size_bytes:,} bytes; a replica holds at most 10 bytes" in detail
            assert "PRETUNE_INFERENCE_CACHE_BYTES" in detail
        assert refusal(client.put("/v1/models/model_0/pin"))[:2] == (422, "too_large")


def test_a_pinned_model_is_in_memory_before_a_replica_takes_requests(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    with replica(settings, database) as first:
        assert call(client, "PUT", "model_0/pin")["pinned"] is True
        wait_until(lambda: call(client, "GET", "model_0")["loaded_on"] == [first], DEADLINE_SECONDS, "it is loaded")
    assert call(client, "GET", "model_0")["loaded_on"] == []
    with replica(settings, database) as second:
        assert call(client, "GET", "model_0")["loaded_on"] == [second]
        with replica(settings, database) as third:
            assert set(call(client, "GET", "model_0")["loaded_on"]) == {second, third}


def test_a_pinned_model_is_unpinned_before_it_is_unloaded_or_deleted(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    call(client, "PUT", "model_0/pin")
    assert call(client, "PUT", "model_0/pin")["pinned"] is True
    status, code, detail = refusal(client.post("/v1/models/model_0/unload"))
    assert (status, code) == (409, "invalid_state")
    assert "DELETE /v1/models/model_0/pin" in detail
    assert call(client, "GET", "model_0/deletion")["blocked_by"] == ["It is pinned."]
    assert refusal(client.delete("/v1/models/model_0"))[:2] == (409, "resource_in_use")
    for _ in range(2):
        call(client, "DELETE", "model_0/pin")
    assert call(client, "GET", "model_0")["pinned"] is False
    assert call(client, "POST", "model_0/unload")["unloaded_from"] == []
    call(client, "DELETE", "model_0")


def test_a_pin_stays_with_its_model_when_the_alias_moves(client: TestClient, rows: list[ModelReference]) -> None:
    call(client, "PUT", "model_0/aliases/best")
    assert call(client, "PUT", "best/pin")["id"] == "model_0"
    call(client, "PUT", "model_1/aliases/best")
    assert [call(client, "GET", f"model_{number}")["pinned"] for number in range(2)] == [True, False]


def test_pins_that_would_not_fit_together_are_refused_with_the_numbers(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    size = rows[0].size_bytes
    with (
        replica(settings, database, inference_cache_bytes=3 * size),
        replica(settings, database, inference_cache_bytes=2 * size + 1),  # the smallest counts
    ):
        call(client, "PUT", "model_0/pin")
        call(client, "PUT", "model_1/pin")
        status, code, detail = refusal(client.put("/v1/models/model_2/pin"))
        assert (status, code) == (422, "too_large")
        assert f"has {size:,} bytes, and {2 * size:,} bytes of models are pinned already" in detail
        assert f"holds {2 * size + 1:,} bytes (PRETUNE_INFERENCE_CACHE_BYTES)" in detail
        call(client, "DELETE", "model_0/pin")
        call(client, "PUT", "model_2/pin")


def test_equal_weights_are_pinned_as_one(
    client: TestClient, settings: Settings, database: Database, store: FolderStore, folders: list[Path]
) -> None:
    twins = [register(database, store, folders[0], f"model_{name}") for name in ("a", "b")]
    with replica(settings, database, inference_cache_bytes=twins[0].size_bytes):
        for twin in twins:
            assert call(client, "PUT", f"{twin.model_id}/pin")["pinned"] is True


def test_pinned_models_survive_the_crowd(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    with replica(settings, database, inference_cache_bytes=2 * rows[0].size_bytes) as replica_id:
        call(client, "PUT", "model_0/pin")
        wait_until(lambda: call(client, "GET", "model_0")["loaded_on"], DEADLINE_SECONDS, "it is loaded")
        for number in (1, 2, 3, 1, 2, 3):
            call(client, "POST", f"model_{number}/load")
            assert call(client, "GET", "model_0")["loaded_on"] == [replica_id]
        assert call(client, "GET", "model_2")["loaded_on"] == []


def test_a_smaller_replica_keeps_the_pins_that_fit_in_the_order_in_which_they_were_made(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    for number in (2, 0):
        call(client, "PUT", f"model_{number}/pin")
    with replica(settings, database, inference_cache_bytes=rows[0].size_bytes + 1) as replica_id:
        assert [call(client, "GET", f"model_{number}")["loaded_on"] for number in (2, 0)] == [[replica_id], []]


def test_of_two_replicas_one_keeps_a_model_warm(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference]
) -> None:
    """And unloading reaches all."""
    with replica(settings, database) as first:
        for number in range(4):
            call(client, "POST", f"model_{number}/load")
        with replica(settings, database):
            wait_until(lambda: _known_replicas(client) == 2, DEADLINE_SECONDS, "the api knows both")
            homes = [call(client, "POST", f"model_{number}/load")["replica_id"] for number in range(4)]
            for number, home in enumerate(homes):
                again = {call(client, "POST", f"model_{number}/load")["replica_id"] for _ in range(5)}
                assert again == {home}
                loaded_on = set(call(client, "GET", f"model_{number}")["loaded_on"])
                assert loaded_on == {first, home}
                assert set(call(client, "POST", f"model_{number}/unload")["unloaded_from"]) == loaded_on


def _known_replicas(client: TestClient) -> int:
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    return len(asyncio.run(services.inference._replicas.ranked("")))


def test_a_replica_tells_prometheus_of_each_model(
    client: TestClient, settings: Settings, database: Database, rows: list[ModelReference], writer: ModelReference
) -> None:
    with replica(settings, database):
        for _ in range(3):
            call(client, "POST", "model_0/predict", json=FEATURES)
        assert client.post("/v1/models/model_0/predict", json={"inputs": [[1]]}).status_code == 422
        prompt = {"prompt": "the", "parameters": {"max_tokens": 7, "temperature": 0}}
        answers = [call(client, "POST", "model_writer/generate", json=prompt)]
        streamed = client.post("/v1/models/model_writer/generate", json={**prompt, "stream": True})
        assert streamed.text.count("data: ") > 2
        [row] = listed(database)
        told = Figures.of(httpx2.get(f"http://{row.address}/metrics").text)
    predict = {"model": "model_0", "operation": "predict"}
    assert told.get("model_requests_total", outcome="ok", **predict) == 3
    assert told.get("model_requests_total", outcome="invalid_input", **predict) == 1
    assert told.get("model_batch_rows_sum", **predict) == 3
    assert told.get("model_queue_seconds_count", **predict) == 3
    assert told.get("model_compute_seconds_count", **predict) == 3
    text = {"model": "model_writer"}
    assert told.get("model_requests_total", operation="generate", outcome="ok", **text) == 2
    assert told.get("model_generated_tokens_total", **text) == 2 * answers[0]["num_tokens"]
    assert told.get("model_first_token_seconds_count", **text) == 2
    assert told.get("model_queue_seconds_count", operation="generate", **text) == 2
    assert told.get("model_batch_rows_sum", operation="generate", **text) >= answers[0]["num_tokens"]
    assert told.get("model_loads_total", model="model_0", outcome="ok") == 1
    assert told.get("model_loaded_bytes", model="model_0") == rows[0].size_bytes
    assert told.get("replica_cache_bytes") == settings.inference_cache_bytes
