"""A real replica over a real socket, with models that export wrote."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from sqlalchemy import select

from app.contract.inference import ModelReference, Operation
from app.db.session import Database
from app.db.tables import Row, WorkerRow
from app.settings import Settings
from app.storage import FolderStore
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.serving.replicas import publish, running
from worker.data.tokenizers import begin_token, token_bytes
from worker.export import load_model
from worker.serving import http
from worker.serving.asgi import Application
from worker.serving.precision import fastest_precision

TOKEN = "replica-token"
DEADLINE_SECONDS = 20
PROMPT = {"prompt": "the quick", "parameters": {"max_tokens": 12, "seed": 3}}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("replica")
    settings = Settings(data_dir=folder, internal_token=TOKEN, inference_threads=1, heartbeat_seconds=0.1)
    database = Database(settings.resolved_database_url)
    Row.metadata.create_all(database.engine)
    database.dispose()
    return settings


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="module")
def store(settings: Settings) -> FolderStore:
    return FolderStore(settings.artifacts_dir)


@pytest.fixture(scope="module")
def classifier(store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    return publish(store, models.text_classifier(tmp_path_factory.mktemp("a") / "m"), "model_classifier")


@pytest.fixture(scope="module")
def language_model(store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    return publish(store, models.language_model(tmp_path_factory.mktemp("b") / "m"), "model_language")


@pytest.fixture(scope="module")
def masked_model(store: FolderStore, tmp_path_factory: pytest.TempPathFactory) -> ModelReference:
    return publish(store, models.masked_language_model(tmp_path_factory.mktemp("c") / "m"), "model_masked")


@pytest.fixture(scope="module")
def replica(settings: Settings) -> Iterator[str]:
    with running(settings) as address:
        yield address


@pytest.fixture
def client(replica: str) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx2.Client(base_url=f"http://{replica}", headers=headers, timeout=DEADLINE_SECONDS) as client:
        yield client


def asked(model: ModelReference, operation: Operation, body: dict[str, Any]) -> dict[str, Any]:
    return {"model": model.model_dump(mode="json"), "operation": operation, "body": body}


def infer(client: httpx2.Client, model: ModelReference, operation: Operation, body: dict[str, Any]) -> httpx2.Response:
    return client.post("/infer", json=asked(model, operation, body))


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_a_replica_says_that_it_lives_without_a_token(replica: str) -> None:
    assert httpx2.get(f"http://{replica}/healthz").json() == {"status": "ok", "precision": fastest_precision()}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
def test_only_who_holds_the_token_may_infer(headers: dict[str, str], replica: str, classifier: ModelReference) -> None:
    body = asked(classifier, Operation.PREDICT, {"inputs": ["a"]})
    for path in ("/infer", "/questions"):
        response = httpx2.post(f"http://{replica}{path}", json=body, headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


def test_predictions_come_in_order_with_the_id_of_the_model(client: httpx2.Client, classifier: ModelReference) -> None:
    texts = ["the quick", "lazy dog", "the quick"]
    answer = infer(client, classifier, Operation.PREDICT, {"inputs": texts, "parameters": {}}).json()
    assert answer["model_id"] == "model_classifier"
    first, other, again = answer["outputs"]
    assert again["scores"] == pytest.approx(first["scores"], rel=1e-5)
    assert other["scores"] != pytest.approx(first["scores"], rel=1e-3)


def test_embeddings_stand_under_their_own_name(client: httpx2.Client, classifier: ModelReference) -> None:
    answer = infer(client, classifier, Operation.EMBED, {"inputs": ["a", "b"]}).json()
    assert [len(vector) for vector in answer["embeddings"]] == [32, 32]


def test_many_clients_at_once_get_their_own_answers(client: httpx2.Client, classifier: ModelReference) -> None:
    texts = [f"the quick fox {'x' * (number % 7)} {number % 11}" for number in range(60)]
    alone = [infer(client, classifier, Operation.PREDICT, {"inputs": [text]}).json()["outputs"][0] for text in texts]
    with ThreadPoolExecutor(12) as threads:
        together = list(
            threads.map(lambda text: infer(client, classifier, Operation.PREDICT, {"inputs": [text]}).json(), texts)
        )
    for single, batched in zip(alone, together, strict=True):
        assert batched["outputs"][0]["scores"] == pytest.approx(single["scores"], rel=1e-4)


def test_a_wrong_input_is_422_with_its_place(client: httpx2.Client, classifier: ModelReference) -> None:
    response = infer(client, classifier, Operation.PREDICT, {"inputs": ["a", 2]})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"] == [
        {"location": "inputs.1", "message": "This model takes a text (a string), and got 2."}
    ]


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({"inputs": "text"}, "inputs"),
        ({}, "inputs"),
        ({"inputs": ["a"], "parameters": {"top_k": 3}}, "parameters.top_k"),
        ({"inputs": ["a"], "input": 1}, "input"),
    ],
)
def test_a_body_of_the_wrong_shape_is_422(
    body: dict[str, Any], location: str, client: httpx2.Client, classifier: ModelReference
) -> None:
    response = infer(client, classifier, Operation.PREDICT, body)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert [error["location"] for error in response.json()["errors"]] == [location]


def test_a_request_asks_for_as_many_tokens_a_mask_as_it_wants(
    client: httpx2.Client, masked_model: ModelReference
) -> None:
    inputs = ["the [MASK]"]
    few, usual = (
        infer(client, masked_model, Operation.PREDICT, {"inputs": inputs} | parameters).json()["outputs"][0]["masks"][0]
        for parameters in ({"parameters": {"top_k": 2}}, {})
    )
    assert few == usual[:2]
    assert len(usual) == 5


@pytest.mark.parametrize(("name", "value"), [("top_k", 0), ("top_k", 101), ("top_k", "3"), ("count", 1)])
def test_parameters_of_a_prediction_are_checked(
    name: str, value: Any, client: httpx2.Client, masked_model: ModelReference
) -> None:
    body = {"inputs": ["[MASK]"], "parameters": {name: value}}
    response = infer(client, masked_model, Operation.PREDICT, body)
    assert (response.status_code, response.json()["code"]) == (422, "validation_failed")
    assert [error["location"] for error in response.json()["errors"]] == [f"parameters.{name}"]


def test_an_operation_that_the_method_lacks_names_those_it_has(
    client: httpx2.Client, classifier: ModelReference
) -> None:
    response = infer(client, classifier, Operation.GENERATE, PROMPT)
    assert (response.status_code, response.json()["code"]) == (422, "operation_not_supported")
    assert "classification does not answer generate; it answers predict and embed" in response.json()["message"]


def test_the_same_seed_gives_the_same_text(client: httpx2.Client, language_model: ModelReference) -> None:
    first, again = (infer(client, language_model, Operation.GENERATE, PROMPT).json() for _ in range(2))
    assert first == again
    assert first["num_prompt_tokens"] > 0
    assert first["finish_reason"] in ("stop", "length")
    assert first["num_tokens"] <= 12
    other = infer(client, language_model, Operation.GENERATE, {**PROMPT, "parameters": {"max_tokens": 12, "seed": 4}})
    assert other.json()["text"] != first["text"]


def test_a_language_model_continues_a_conversation_as_a_transcript(
    client: httpx2.Client, language_model: ModelReference
) -> None:
    parameters = {"max_tokens": 4, "seed": 3}
    said = {"messages": [{"role": "user", "content": "dog"}], "parameters": parameters}
    written = {"prompt": "User: dog\nAssistant:", "parameters": parameters}
    answer, text = (infer(client, language_model, Operation.GENERATE, body).json() for body in (said, written))
    assert answer == text | {"text": text["text"].lstrip()}


def test_log_probabilities_are_those_of_a_plain_forward_pass(
    client: httpx2.Client, language_model: ModelReference, tmp_path: Path
) -> None:
    loaded = load_model(models.language_model(tmp_path / "same"))
    assert loaded.tokenizer is not None
    parameters = {"max_tokens": 10, "temperature": 0.0, "top_k": 3, "repetition_penalty": 1.2, "logprobs": 3}
    body = {"prompt": "naïve 東京", "parameters": parameters}
    answer = infer(client, language_model, Operation.GENERATE, body).json()
    told = answer["logprobs"]
    read = [begin_token(loaded.tokenizer), *loaded.tokenizer.encode("naïve 東京").ids]
    assert len(told) == answer["num_tokens"] > 4
    for each in told:
        with torch.inference_mode():
            logs = loaded.module(torch.tensor([read]))[0, -1].double().log_softmax(-1)
        likeliest = logs.topk(3)
        assert [top["logprob"] for top in each["top_logprobs"]] == pytest.approx(likeliest.values.tolist(), abs=1e-5)
        spelled = [top["bytes"] for top in each["top_logprobs"]]
        assert spelled == [list(token_bytes(loaded.tokenizer, t) or b"") or None for t in likeliest.indices.tolist()]
        [token] = [t for t in range(len(logs)) if token_bytes(loaded.tokenizer, t) == bytes(each["bytes"])]
        assert each["logprob"] == pytest.approx(float(logs[token]), abs=1e-5)
        read.append(token)
    assert b"".join(bytes(each["bytes"]) for each in told).decode(errors="replace") == answer["text"]


def test_a_stream_tells_the_same_log_probabilities(client: httpx2.Client, language_model: ModelReference) -> None:
    asks = {**PROMPT, "parameters": {"max_tokens": 12, "seed": 3, "logprobs": 1, "stop": ["e", "東"]}}
    whole = infer(client, language_model, Operation.GENERATE, asks).json()
    with client.stream(
        "POST", "/infer", json=asked(language_model, Operation.GENERATE, {**asks, "stream": True})
    ) as it:
        events = list(events_of(it.iter_lines()))
    assert [told for event in events[:-1] for told in event["logprobs"]] == whole["logprobs"]
    written = 0
    for event in events[:-1]:
        assert all(written <= told["text_offset"] < written + len(event["text"]) for told in event["logprobs"])
        written += len(event["text"])


@pytest.mark.parametrize("given", [{}, {"prompt": "dog", "messages": [{"role": "user", "content": "dog"}]}])
def test_a_prompt_or_messages_are_given(
    given: dict[str, Any], client: httpx2.Client, language_model: ModelReference
) -> None:
    response = infer(client, language_model, Operation.GENERATE, given)
    assert response.status_code == 422
    assert [error["location"] for error in response.json()["errors"]] == ["prompt"]


def test_a_stream_is_the_same_text_in_pieces(client: httpx2.Client, language_model: ModelReference) -> None:
    whole = infer(client, language_model, Operation.GENERATE, PROMPT).json()
    body = asked(language_model, Operation.GENERATE, {**PROMPT, "stream": True})
    with client.stream("POST", "/infer", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream"
        events = list(events_of(response.iter_lines()))
    assert "".join(event["text"] for event in events) == whole["text"]
    assert len(events) > 2
    assert events[-1] == {**whole, "text": ""}


def test_generation_ends_at_the_context_and_before_a_stop(
    client: httpx2.Client, language_model: ModelReference
) -> None:
    parameters: dict[str, Any] = {"max_tokens": 500, "temperature": 0.0}
    long = infer(client, language_model, Operation.GENERATE, {"prompt": "the", "parameters": parameters}).json()
    assert long["finish_reason"] == "length"
    assert long["num_prompt_tokens"] + long["num_tokens"] == models.CONTEXT_LENGTH
    stop = long["text"][5:8]
    parameters = {**parameters, "stop": [stop]}
    cut = infer(client, language_model, Operation.GENERATE, {"prompt": "the", "parameters": parameters}).json()
    assert cut["finish_reason"] == "stop"
    assert cut["text"] == long["text"][: long["text"].index(stop)]


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(
    client: httpx2.Client, language_model: ModelReference
) -> None:
    response = infer(client, language_model, Operation.GENERATE, {"prompt": "#" * 40})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"][0]["location"] == "prompt"
    assert "40 tokens" in response.json()["message"]
    assert "at most 31" in response.json()["message"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_k": 0},
        {"max_tokens": 0},
        {"seed": -1},
        {"stop": [""]},
        {"best_of": 2},
        {"repetition_penalty": 0},
        {"logprobs": 21},
        {"logprobs": True},
    ],
)
def test_wrong_parameters_are_422(
    parameters: dict[str, Any], client: httpx2.Client, language_model: ModelReference
) -> None:
    response = infer(client, language_model, Operation.GENERATE, {"prompt": "a", "parameters": parameters})
    assert response.status_code == 422
    assert response.json()["errors"][0]["location"].startswith(f"parameters.{next(iter(parameters))}")


def test_a_client_that_goes_away_stops_its_generation(settings: Settings, store: FolderStore, tmp_path: Path) -> None:
    """There is room for one model: the other is served only once nobody uses the first any more."""
    longer = models.TEXT_BODY["architecture"].model_copy(update={"context_length": 100_000})
    body = {**models.TEXT_BODY, "architecture": longer}
    folder = models.write_model(tmp_path / "a", "pretrain", "causal_language_model", body)
    endless = publish(store, folder, "model_endless")
    other = publish(store, models.text_classifier(tmp_path / "b", seed=5), "model_other")
    room = max(sum(file.size_bytes for file in reference.files) for reference in (endless, other))
    generation = {"prompt": "", "parameters": {"max_tokens": 90_000}, "stream": True}
    small = settings.model_copy(update={"inference_cache_bytes": room})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with running(small) as address, httpx2.Client(base_url=f"http://{address}", headers=headers) as client:
        with client.stream("POST", "/infer", json=asked(endless, Operation.GENERATE, generation)) as response:
            assert any(event["text"] for event in events_of(response.iter_lines()))  # at once: it is endless
        answer = client.post(
            "/infer", json=asked(other, Operation.PREDICT, {"inputs": ["a"]}), timeout=DEADLINE_SECONDS
        )
        assert answer.status_code == 200


def test_a_corrupted_model_is_told_and_serves_again_once_mended(
    client: httpx2.Client, store: FolderStore, settings: Settings, tmp_path: Path
) -> None:
    reference = publish(store, models.feature_regressor(tmp_path / "m"), "model_damaged")
    weights = settings.artifacts_dir / reference.artifact_prefix / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    body = {"inputs": [[1, 2, 3, 4]]}
    response = infer(client, reference, Operation.PREDICT, body)
    assert (response.status_code, response.json()["code"]) == (500, "model_corrupted")
    assert "model_damaged is not what was registered: model.safetensors" in response.json()["message"]
    weights.write_bytes(good)
    assert infer(client, reference, Operation.PREDICT, body).status_code == 200


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("/infer", b"{", 422, "validation_failed"),
        ("/infer", b'{"model": 1}', 422, "validation_failed"),
        ("/infer", b"x" * (3 << 20), 413, "payload_too_large"),
        ("/questions", b"{}", 422, "validation_failed"),
        ("/questions", b"x" * (3 << 20), 413, "payload_too_large"),
    ],
)
def test_what_is_no_inference_request_is_refused(
    path: str, content: bytes, status: int, code: str, client: httpx2.Client
) -> None:
    response = client.post(path, content=content)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_other_paths_are_404(client: httpx2.Client) -> None:
    assert client.get("/infer").status_code == 404
    assert client.get("/").status_code == 404


def test_a_replica_beats_with_its_address_and_models_and_leaves_when_it_stops(
    settings: Settings, store: FolderStore, database: Database, tmp_path: Path
) -> None:
    reference = publish(store, models.feature_regressor(tmp_path / "m", seed=9), "model_beating")

    def row_of(address: str) -> WorkerRow | None:
        with database.reading() as session:
            return session.scalars(select(WorkerRow).where(WorkerRow.address == address)).one_or_none()

    headers = {"Authorization": f"Bearer {TOKEN}"}
    with running(settings) as address:
        row = wait_until(lambda: row_of(address), DEADLINE_SECONDS, "the replica beats")
        assert (row.role, row.queues, row.devices) == ("inference", [], ["cpu"])
        question = asked(reference, Operation.PREDICT, {"inputs": [[1, 2, 3, 4]]})
        assert httpx2.post(f"http://{address}/infer", json=question, headers=headers).status_code == 200
        wait_until(
            lambda: (row := row_of(address)) and reference.digest in row.loaded,
            DEADLINE_SECONDS,
            "the beat tells the model",
        )
    assert row_of(address) is None


def test_a_database_that_is_gone_does_not_stop_serving(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "none", internal_token=TOKEN, heartbeat_seconds=0.05)
    reference = publish(FolderStore(settings.artifacts_dir), models.feature_regressor(tmp_path / "m"), "model_alone")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with running(settings) as address:
        question = asked(reference, Operation.PREDICT, {"inputs": [[1, 2, 3, 4]]})
        assert httpx2.post(f"http://{address}/infer", json=question, headers=headers).status_code == 200


def test_off_loopback_a_replica_does_not_start_without_a_token(tmp_path: Path) -> None:
    sent: list[http.Message] = []

    async def receive() -> http.Message:
        return {"type": "lifespan.startup"}

    async def send(message: http.Message) -> None:
        sent.append(message)

    settings = Settings(data_dir=tmp_path, inference_host="0.0.0.0")  # noqa: S104  never bound
    asyncio.run(Application(settings)({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "PRETUNE_INTERNAL_TOKEN" in sent[0]["message"]


def test_on_loopback_a_replica_needs_no_token(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, heartbeat_seconds=60)
    reference = publish(FolderStore(settings.artifacts_dir), models.feature_regressor(tmp_path / "m"), "model_open")
    with running(settings) as address:
        question = asked(reference, Operation.PREDICT, {"inputs": [[1, 2, 3, 4]]})
        assert httpx2.post(f"http://{address}/infer", json=question).status_code == 200
