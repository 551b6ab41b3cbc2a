"""`/v1/jobs` over HTTP: status codes, headers and shapes. The rules themselves are tested with the services."""

from typing import Any

import httpx2
import pytest

from app.contract.job import JobStatus
from app.db import artifacts
from app.db.session import Database, now
from app.db.tables import JobRow
from app.storage import FolderStore
from tests.factories import language_model_spec, make_checkpoint, make_dataset, make_job, make_model, put

MISSING = "job_" + "0" * 32


@pytest.fixture
def spec(database: Database) -> dict[str, Any]:
    return language_model_spec(make_dataset(database).id, metadata={"team": "nlp"})


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    return body


def test_a_job_that_was_asked_for_is_accepted_and_told_where_it_is(client: httpx2.Client, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{view['id']}"
    assert client.get(answer.headers["Location"]).json() == view
    assert set(view) >= {
        *("id", "kind", "name", "status", "spec", "resolved", "dataset_id", "parent_model_id", "model_id", "attempt"),
        *("queue_position", "progress", "metrics", "error", "created_at", "started_at", "finished_at"),
    }
    assert view["progress"] == {
        "phase": None,
        "step": 0,
        "total_steps": None,
        "fraction": None,
        "tokens_per_second": None,
        "examples_per_second": None,
        "steps_per_second": None,
        "eta_seconds": None,
        "num_trials_done": None,
        "num_trials": None,
    }
    assert view["created_at"].endswith("Z")


def test_an_estimate_is_an_answer_and_not_a_job(client: httpx2.Client, spec: dict[str, Any]) -> None:
    answer = client.post("/v1/jobs/estimate", json=spec)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total_steps"] == 500
    assert client.get("/v1/jobs").json() == {"data": [], "next_cursor": None}


def test_a_refusal_names_the_field(client: httpx2.Client, spec: dict[str, Any]) -> None:
    body = problem(client.post("/v1/jobs", json=spec | {"dataset": "ds_" + "0" * 32}), 422, "validation_failed")
    assert body["errors"][0]["location"] == "dataset"


def test_jobs_are_filtered_by_query(client: httpx2.Client, database: Database, spec: dict[str, Any]) -> None:
    wanted = make_job(database, status=JobStatus.PAUSED, spec=spec)
    make_job(database, status=JobStatus.RUNNING)

    def found(query: str) -> list[str]:
        answer = client.get(f"/v1/jobs?{query}")
        assert answer.status_code == 200, answer.text
        return [view["id"] for view in answer.json()["data"]]

    assert found("status=paused&status=failed") == [wanted.id]
    assert found("metadata.team=nlp&kind=pretrain") == [wanted.id]
    assert found("metadata.team=nlp&metadata.team2=x") == []
    assert found("method=classification") == []
    assert len(found("limit=200")) == 2


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=x", "status=sleeping", "name=%00", "metadata.a=%00", "metadata.%00=a"],
)
def test_a_query_that_means_nothing_is_refused(client: httpx2.Client, query: str) -> None:
    assert client.get(f"/v1/jobs?{query}").status_code == 422


def test_pages_follow_each_other_by_cursor(client: httpx2.Client, database: Database) -> None:
    made = [make_job(database).id for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [view["id"] for view in page["data"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]


@pytest.mark.parametrize("path", ["/v1/jobs/%00", "/v1/jobs/a%00/events", "/v1/models/%00", "/v1/models/a%00/archive"])
def test_a_name_that_no_database_keeps_is_the_users_mistake(client: httpx2.Client, path: str) -> None:
    assert client.get(path).status_code in {404, 422}


@pytest.mark.parametrize(
    ("call", "status", "becomes"),
    [
        ("cancel", JobStatus.QUEUED, "cancelled"),
        ("pause", JobStatus.RUNNING, "pausing"),
        ("resume", JobStatus.PAUSED, "queued"),
        ("retry", JobStatus.FAILED, "queued"),
    ],
)
def test_a_job_is_steered(
    client: httpx2.Client, database: Database, call: str, status: JobStatus, becomes: str
) -> None:
    job = make_job(database, status=status)
    answer = client.post(f"/v1/jobs/{job.id}/{call}")
    assert (answer.status_code, answer.json()["status"]) == (202, becomes)
    finished = make_job(database, status=JobStatus.SUCCEEDED)
    assert "succeeded" in problem(client.post(f"/v1/jobs/{finished.id}/{call}"), 409, "invalid_state")["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/metrics"),
        ("GET", "/checkpoints"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/a.txt"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/retry"),
        ("POST", "/checkpoints/5/promote"),
    ],
)
def test_a_job_that_is_not_there_is_404_everywhere(
    client: httpx2.Client, database: Database, method: str, path: str
) -> None:
    foreign = make_job(database, project_id="other")
    for job_id in (MISSING, foreign.id, "x"):
        assert job_id in problem(client.request(method, f"/v1/jobs/{job_id}{path}"), 404, "not_found")["detail"]


def test_a_checkpoint_is_promoted_to_a_model(client: httpx2.Client, database: Database, store: FolderStore) -> None:
    job = make_job(database, status=JobStatus.SUCCEEDED)
    make_checkpoint(database, store, job, 5)
    [listed] = client.get(f"/v1/jobs/{job.id}/checkpoints").json()["data"]
    assert (listed["step"], listed["model_id"], listed["is_last"]) == (5, None, True)
    answer = client.post(f"/v1/jobs/{job.id}/checkpoints/5/promote")
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/models/{answer.json()['id']}"
    assert client.get(answer.headers["Location"]).json() == answer.json()
    assert answer.json()["digest"] == listed["digest"]
    problem(client.post(f"/v1/jobs/{job.id}/checkpoints/6/promote"), 404, "not_found")


def test_a_file_is_saved_and_never_rendered(client: httpx2.Client, database: Database, store: FolderStore) -> None:
    job = _job_with_file(database, store, "grid ü.html", b"<script>")
    answer = client.get(f"/v1/jobs/{job.id}/artifacts/grid ü.html")
    assert answer.content == b"<script>"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''grid%20%C3%BC.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == "8"


def _job_with_file(database: Database, store: FolderStore, name: str, content: bytes) -> JobRow:
    job = make_job(database)
    stored = put(store, f"{job.project_id}/jobs/{job.id}/attempt-1/artifacts/file", content)
    with database.transaction() as session:
        artifacts.upsert(
            session,
            job_id=job.id,
            name=name,
            key=f"{job.project_id}/jobs/{job.id}/attempt-1/artifacts/file",
            media_type="text/html",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            at=now(session),
        )
    return job


def test_a_finetune_tells_its_parent(client: httpx2.Client, database: Database, store: FolderStore) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "labeled_text")
    body = {"kind": "finetune", "parent": model.id, "dataset": dataset.id, "method": {"type": "classification"}}
    view = client.post("/v1/jobs", json=body).json()
    assert (view["parent"], view["parent_model_id"], view["status"]) == (model.id, None, "queued")
    assert [job["id"] for job in client.get(f"/v1/jobs?parent={model.id}").json()["data"]] == [view["id"]]
