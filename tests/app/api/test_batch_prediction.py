"""`POST /v1/models/{model}/batch_predict` over HTTP. Its rules are tested with the services."""

from typing import Any

import httpx2
import pytest

from app.contract.job import JobStatus
from app.db import artifacts
from app.db.session import Database, now
from app.db.tables import ModelRow
from app.storage import FolderStore
from tests.factories import make_dataset, make_job, make_model, make_project, put

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def model(database: Database, store: FolderStore) -> ModelRow:
    return make_model(database, store)


@pytest.fixture
def body(database: Database) -> dict[str, Any]:
    return {"dataset": make_dataset(database).id, "name": "night", "metadata": {"team": "nlp"}}


def test_it_is_a_job_like_any(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    answer = client.post(f"/v1/models/{model.id}/batch_predict", json=body)
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{view['id']}"
    assert client.get(answer.headers["Location"]).json() == view
    assert (view["kind"], view["name"], view["metadata"]) == ("batch_predict", "night", {"team": "nlp"})
    assert [job["id"] for job in client.get("/v1/jobs?kind=batch_predict").json()["data"]] == [view["id"]]
    assert [job["id"] for job in client.get(f"/v1/jobs?parent={model.id}").json()["data"]] == [view["id"]]
    assert client.post(f"/v1/jobs/{view['id']}/pause").json()["status"] == "paused"
    assert client.post(f"/v1/jobs/{view['id']}/resume").json()["status"] == "queued"
    assert client.post(f"/v1/jobs/{view['id']}/cancel").json()["status"] == "cancelled"
    assert client.delete(f"/v1/jobs/{view['id']}").status_code == 204


def test_jobs_take_the_same_by_kind(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    there = client.post(f"/v1/models/{model.id}/batch_predict", json=body).json()
    answer = client.post("/v1/jobs", json=body | {"kind": "batch_predict", "model": model.id})
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"] == there["spec"]


def test_a_key_makes_one_job(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    path, headers = f"/v1/models/{model.id}/batch_predict", {"Idempotency-Key": "once"}
    first = client.post(path, json=body, headers=headers)
    again = client.post(path, json=body, headers=headers)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert client.post(path, json=body | {"priority": 1}, headers=headers).status_code == 422


def test_a_model_is_asked_by_its_alias(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    assert client.put(f"/v1/models/{model.id}/aliases/live").status_code == 200
    answer = client.post("/v1/models/live/batch_predict", json=body)
    assert answer.status_code == 202, answer.text
    assert (answer.json()["parent"], answer.json()["parent_model_id"]) == ("live", model.id)


def test_a_model_that_is_not_there_is_404_and_a_data_set_422(
    client: httpx2.Client, database: Database, store: FolderStore, body: dict[str, Any]
) -> None:
    other = make_project(database, "other")
    theirs = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id=other))
    for ref in ("model_" + "0" * 32, theirs.id):
        assert client.post(f"/v1/models/{ref}/batch_predict", json=body).status_code == 404
    missing = body | {"dataset": "ds_" + "0" * 32}
    mine = make_model(database, store)
    assert client.post(f"/v1/models/{mine.id}/batch_predict", json=missing).status_code == 422
    assert client.get("/v1/jobs?kind=batch_predict").json()["data"] == []


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"operation": "dream"}, "operation"),
        ({"parameters": []}, "parameters"),
        ({"training": {}}, "training"),
        ({"model": "x"}, "model"),
        ({"dataset": "mine"}, "dataset"),
    ],
)
def test_a_refusal_names_the_field(
    change: dict[str, Any], location: str, client: httpx2.Client, model: ModelRow, body: dict[str, Any]
) -> None:
    answer = client.post(f"/v1/models/{model.id}/batch_predict", json=body | change)
    assert answer.status_code == 422, answer.text
    assert [error["location"] for error in answer.json()["errors"]] == [location]


def test_the_answers_are_downloaded_as_lines(
    client: httpx2.Client, database: Database, store: FolderStore, model: ModelRow, body: dict[str, Any]
) -> None:
    job = client.post(f"/v1/models/{model.id}/batch_predict", json=body).json()
    key = f"default/jobs/{job['id']}/attempt-1/artifacts/part-0.jsonl"
    stored = put(store, key, b'{"index":0,"output":{}}\n')
    with database.transaction() as session:
        artifacts.upsert(
            session,
            job_id=job["id"],
            name="predictions/part-0.jsonl",
            key=key,
            media_type="application/jsonl",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            at=now(session),
        )
    answer = client.get(f"/v1/jobs/{job['id']}/artifacts/predictions%2Fpart-0.jsonl")
    assert (answer.status_code, answer.text) == (200, '{"index":0,"output":{}}\n')
    assert answer.headers["Content-Type"] == "application/jsonl"
    assert client.get(f"/v1/jobs/{job['id']}/artifacts/predictions/part-0.jsonl").text == answer.text


def test_no_estimate_is_made_of_it(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs/estimate", json=body | {"kind": "batch_predict", "model": model.id})
    assert answer.status_code == 422
    assert "pretrain" in answer.json()["detail"]


def test_it_is_no_fine_tuning_job(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    job = client.post(f"/v1/models/{model.id}/batch_predict", json=body).json()
    jobs = "/openai/v1/fine_tuning/jobs"
    listed = client.get(jobs).json()["data"]
    assert [each["id"] for each in listed] == [model.job_id]
    answers = [
        client.get(f"{jobs}/{job['id']}"),
        client.get(f"{jobs}/{job['id']}/events"),
        client.get(f"{jobs}/{job['id']}/checkpoints"),
        client.post(f"{jobs}/{job['id']}/pause"),
        client.post(f"{jobs}/{job['id']}/resume"),
        client.post(f"{jobs}/{job['id']}/cancel"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert client.get(f"/v1/jobs/{job['id']}").json()["status"] == "queued"


def test_pages_show_it(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    job = client.post(f"/v1/models/{model.id}/batch_predict", json=body).json()
    page = client.get(f"/jobs/{job['id']}")
    assert page.status_code == 200, page.text
    assert "batch prediction" in page.text
    assert "Refused records" in page.text
    assert "batch prediction" in client.get("/").text
    assert client.get(f"/models/{model.id}").status_code == 200
    assert client.get(f"/jobs/new?parent={model.id}").status_code == 200
    assert client.get(f"/compare?job={job['id']}").status_code == 200
