"""Every refusal is a problem of RFC 9457 that names the place, the value and the remedy, and no fault gets past."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url
from starlette.testclient import TestClient

from app.api.explanations import EXPLANATIONS
from app.contract.errors import ErrorCode, Overloaded, ServiceError, Unauthenticated
from app.main import create_app
from app.settings import Settings
from tests.factories import language_model_spec
from tests.support.local_client import local_client
from tests.support.postgres import TEMPLATE, PostgresServer

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

NO_DATASET = "ds_" + "0" * 32


@pytest.fixture
def spec() -> dict[str, Any]:
    return language_model_spec(NO_DATASET)


@pytest.fixture
def faulty(settings: Settings) -> Iterator[TestClient]:
    """The application, and three routes more that go wrong."""
    app = create_app(settings)

    @app.get("/fault")
    def fault() -> None:
        raise RuntimeError("the secret is pk_123")

    @app.get("/busy")
    def busy() -> None:
        raise Overloaded("Too much.", retry_after_seconds=7)

    @app.get("/closed")
    def closed() -> None:
        raise Unauthenticated("Send a key.")

    with local_client(app) as client:
        yield client


def refusal(client: TestClient, body: Any) -> dict[str, str]:
    """What is told of each place."""
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "validation_failed"
    return {error["location"]: error["message"] for error in problem["errors"]}


def with_method(spec: dict[str, Any], method: Any, **others: Any) -> dict[str, Any]:
    return spec | {"method": method} | others


def test_what_a_parent_decides_is_its_own(client: TestClient, spec: dict[str, Any]) -> None:
    body = spec | {"kind": "finetune", "parent": "model_1"}
    assert refusal(client, body) == {
        "method.architecture": "architecture is the parent's: leave it out.",
        "method.tokenizer": "tokenizer is the parent's: leave it out.",
    }


def test_a_problem_has_the_shape_of_rfc_9457_and_of_openai(client: TestClient, spec: dict[str, Any]) -> None:
    problem = client.post("/v1/jobs", json=spec | {"priority": 5_000}).json()
    told = "Must be less than or equal to 1000, not 5000."
    assert problem == {
        "type": "/errors/validation_failed",
        "title": EXPLANATIONS[ErrorCode.VALIDATION_FAILED].title,
        "status": 422,
        "detail": f"priority: {told}",
        "code": "validation_failed",
        "errors": [{"location": "priority", "message": told}],
        "error": {
            "message": f"priority: {told}",
            "type": "invalid_request_error",
            "param": "priority",
            "code": "validation_failed",
        },
    }


@pytest.mark.parametrize(
    ("method", "location", "told"),
    [
        ({"type": "causal_langage_model"}, "method.type", 'no type "causal_langage_model".*mean causal_language_model'),
        ({"type": "telepathy"}, "method.type", "causal_language_model, .*autoencoder, .*regression"),
        ({}, "method.type", "is required: one of causal_language_model"),
        (
            {"type": "causal_language_model", "architecture": {"num_layers": 3}},
            "method.architecture.type",
            "is required: one of .*transformer",
        ),
        ({"type": 3}, "method.type", "causal_language_model"),
        ("autoencoder", "method", 'an object, not "autoencoder"'),
        (None, "method", "an object, not null"),
        ({"type": "autoencoder", "architecture": {"type": "rnn"}}, "method.architecture.type", "mlp, conv"),
        ({"type": "autoencoder", "architecture": {"type": "mlp", "width": 3}}, "method.architecture.width", "hidden_w"),
        (
            {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [8, "a"]}},
            "method.architecture.hidden_widths.1",
            'integer, not "a"',
        ),
        (
            {"type": "causal_language_model", "architecture": {"type": "transformer", "num_heads": 3}},
            "method.architecture",
            "idth 256 is not divisible by num_heads 3",
        ),
        (
            {"type": "causal_language_model", "architecture": {"type": "transformer", "num_heads": "2"}},
            "method.architecture.num_heads",
            'integer, not "2"',
        ),
    ],
)
def test_a_wrong_method_is_told_at_its_place(
    client: TestClient, spec: dict[str, Any], method: Any, location: str, told: str
) -> None:
    assert re.search(told, refusal(client, with_method(spec, method))[location])


@pytest.mark.parametrize(
    ("training", "location", "told"),
    [
        ({"bach_size": 8}, "training.bach_size", "Did you mean batch_size?"),
        ({"duration": {"steps": 0}}, "training.duration.steps", "greater than or equal to 1, not 0"),
        ({"duration": {"steps": 1, "epochs": 1.0}}, "training.duration", "exactly one"),
        ({"optimizer": {"type": "adan"}}, "training.optimizer.type", "Did you mean adam?"),
        ({"optimizer": {"type": "sgd", "betas": [0.9, 0.9]}}, "training.optimizer.betas", "There are: type, learning"),
        ({"optimizer": {"betas": [0.9, 1.0]}}, "training.optimizer.betas.1", "less than 1, not 1.0"),
        ({"evaluate_every": {"step": 5}}, "training.evaluate_every.step", "Did you mean steps?"),
        ({"compile": "never"}, "training.compile", "'auto' or a valid boolean, not \"never\""),
        ({"duration": "long"}, "training.duration", "Must be an object or 'auto', not \"long\"."),
        ({"batch_size": 0}, "training.batch_size", "greater than or equal to 1 or 'auto', not 0."),
        ({"seed": 10**30}, "training.seed", "less than"),
        ({"adamw": 1}, "training.adamw", "no field"),
        ([], "training", "an object, not a list of 0"),
    ],
)
def test_a_wrong_option_is_told_at_its_place(
    client: TestClient, spec: dict[str, Any], training: Any, location: str, told: str
) -> None:
    message = refusal(client, spec | {"training": training})[location]
    assert told in message


def test_fields_that_every_job_needs_are_named(client: TestClient, spec: dict[str, Any]) -> None:
    assert refusal(client, {}) == {"kind": "kind is required: one of pretrain, finetune, batch_predict, evaluate."}
    assert set(refusal(client, {"kind": "pretrain"})) == {"dataset", "method"}
    finetune = {"kind": "finetune", "dataset": NO_DATASET, "method": {"type": "classification"}}
    assert "model id or an alias" in refusal(client, finetune)["parent"]


def test_a_key_named_like_a_variant_is_the_users_own(client: TestClient, spec: dict[str, Any]) -> None:
    assert set(refusal(client, spec | {"pretrain": {"method": 1}})) == {"pretrain"}
    told = refusal(client, spec | {"metadata": {"pretrain": 3, "k" * 70: "v", "nul": "\0"}})
    assert {"metadata.pretrain", "metadata.nul"} < set(told)
    assert "NUL" in told["metadata.nul"]


def test_many_errors_are_counted_and_not_all_told(client: TestClient, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json=spec | {f"key{number}": 1 for number in range(500)})
    assert len(answer.json()["errors"]) == 20
    assert "(And 499 more.)" in answer.json()["detail"]


def test_a_long_value_is_told_short(client: TestClient, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json=spec | {"name": "x" * 500_000, "y" * 300_000: 1})
    assert answer.status_code == 422
    assert len(answer.content) < 2_000


def test_a_wrong_query_is_told_by_its_name(client: TestClient) -> None:
    answer = client.get("/v1/jobs?limit=0&status=sleeping")
    told = {error["location"]: error["message"] for error in answer.json()["errors"]}
    assert told["limit"] == 'Must be greater than or equal to 1, not "0".'
    assert "'running'" in told["status.0"]


def test_a_path_that_nobody_serves_is_404_and_a_wrong_method_405(client: TestClient) -> None:
    missing = client.get("/v1/nonsense")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "/v1/nonsense" in missing.json()["detail"]
    wrong = client.put("/v1/jobs", json={})
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"]


def test_a_fault_is_500_without_its_cause_which_is_logged_with_the_request(
    faulty: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = faulty.get("/fault", headers={"X-Request-Id": "mine-1"})
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["X-Request-Id"] == "mine-1"
    assert "mine-1" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"
    logs = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    [failure] = [log for log in logs if log["event"] == "request_failed"]
    assert (failure["request_id"], failure["route"]) == ("mine-1", "/fault")


def test_headers_that_go_with_a_refusal_are_sent(faulty: TestClient) -> None:
    assert faulty.get("/busy").headers["Retry-After"] == "7"
    closed = faulty.get("/closed")
    assert (closed.status_code, closed.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "é"])
def test_every_answer_has_a_request_id_and_a_strange_one_is_replaced(client: TestClient, given: str) -> None:
    for path in ("/healthz", "/v1/nonsense"):
        told = client.get(path, headers=[(b"x-request-id", given.encode())]).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{32}", told)


def test_a_database_that_is_away_is_503_and_its_text_is_not_told(
    postgres: PostgresServer, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with postgres.new_database(TEMPLATE) as url:
        name = make_url(url).database
        settings = Settings(data_dir=tmp_path_factory.mktemp("away"), database_url=url, broker_url=valkey_url)
        with local_client(create_app(settings)) as client:
            assert client.get("/v1/jobs").status_code == 200
            postgres.execute(
                f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false",
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608  ours
            )
            answer: httpx2.Response = client.get("/v1/jobs")
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert answer.headers["Retry-After"]
            assert str(name) not in answer.text
            ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "error")
            postgres.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
            assert client.get("/v1/jobs").status_code == 200
            assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_is_explained_at_its_type(client: TestClient, code: ErrorCode) -> None:
    page = client.get(f"/errors/{code}")
    assert page.status_code == 200
    assert escape(EXPLANATIONS[code].title) in page.text
    assert f"<code>{code}</code>" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_code_that_is_none_is_404(client: TestClient) -> None:
    assert client.get("/errors/<script>").status_code == 404


def test_an_explanation_tells_the_status_that_the_error_has() -> None:
    """Of the errors that have a status of their own; OpenAI's surface has OpenAI's."""
    for kind in subclasses(ServiceError):
        if {"code", "status"} <= vars(kind).keys() and "openai" not in kind.__module__:
            assert EXPLANATIONS[kind.code].status == kind.status, kind


def subclasses(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)
