"""Evaluations over HTTP. Their rules are tested with the services."""

from typing import Any

import httpx2
import pytest

from app.contract.evaluations import Figure
from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import ModelRow
from app.storage import FolderStore
from app.web.evaluations import _bar
from tests.factories import make_dataset, make_evaluation, make_job, make_model, make_project

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def model(database: Database, store: FolderStore) -> ModelRow:
    return make_model(database, store)


@pytest.fixture
def body(database: Database) -> dict[str, Any]:
    return {"dataset": make_dataset(database).id, "name": "night", "metadata": {"team": "nlp"}}


def test_it_is_a_job_like_any(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    answer = client.post(f"/v1/models/{model.id}/evaluate", json=body)
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert client.get(answer.headers["Location"]).json() == view
    assert (view["kind"], view["name"], view["metadata"]) == ("evaluate", "night", {"team": "nlp"})
    assert [job["id"] for job in client.get("/v1/jobs?kind=evaluate").json()["data"]] == [view["id"]]
    assert client.post(f"/v1/jobs/{view['id']}/pause").json()["status"] == "paused"
    assert client.post(f"/v1/jobs/{view['id']}/resume").json()["status"] == "queued"
    assert client.post(f"/v1/jobs/{view['id']}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/v1/jobs/{view['id']}/retry").json()["status"] == "queued"
    same = client.post("/v1/jobs", json=body | {"kind": "evaluate", "model": model.id})
    assert same.json()["spec"] == view["spec"]


def test_a_key_makes_one_job(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    path, headers = f"/v1/models/{model.id}/evaluate", {"Idempotency-Key": "once"}
    first = client.post(path, json=body, headers=headers)
    assert client.post(path, json=body, headers=headers).json() == first.json()
    assert client.post(path, json=body | {"seed": 1}, headers=headers).status_code == 422


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"resamples": 99}, "resamples"),
        ({"resamples": 10_001}, "resamples"),
        ({"operation": "predict"}, "operation"),
        ({"model": "x"}, "model"),
        ({"dataset": "mine"}, "dataset"),
        ({"resources": {"device": "cuda"}}, "resources.device"),
    ],
)
def test_a_refusal_names_the_field(
    change: dict[str, Any], location: str, client: httpx2.Client, model: ModelRow, body: dict[str, Any]
) -> None:
    answer = client.post(f"/v1/models/{model.id}/evaluate", json=body | change)
    assert answer.status_code == 422, answer.text
    assert [error["location"] for error in answer.json()["errors"]] == [location]


def test_a_model_that_is_not_there_is_404(
    client: httpx2.Client, database: Database, store: FolderStore, body: dict[str, Any]
) -> None:
    other = make_project(database, "other")
    theirs = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id=other))
    for ref in ("model_" + "0" * 32, theirs.id):
        assert client.post(f"/v1/models/{ref}/evaluate", json=body).status_code == 404
        assert client.get(f"/v1/models/{ref}/evaluations").status_code == 404


def test_what_was_found_is_read_compared_and_deleted(
    client: httpx2.Client, database: Database, store: FolderStore, model: ModelRow
) -> None:
    dataset = make_dataset(database, "labeled_text")
    mine = make_evaluation(database, store, model, dataset)
    theirs = make_evaluation(database, store, make_model(database, store), dataset, right=[False] * 4)
    assert client.put(f"/v1/models/{model.id}/aliases/live").status_code == 200
    [listed] = client.get("/v1/models/live/evaluations").json()["data"]
    whole = client.get(f"/v1/evaluations/{mine.id}").json()
    assert {name: whole[name] for name in listed} == listed
    assert set(whole) - set(listed) == {"report"}
    assert next(iter(whole["report"]["measures"])) == "accuracy"
    compared = client.get(f"/v1/evaluations/{mine.id}/compare/{theirs.id}").json()
    assert compared["measures"]["accuracy"]["first"] == 0.75
    assert compared["measures"]["accuracy"]["test"] == "mcnemar_exact"
    units = client.get(f"/v1/evaluations/{mine.id}/units")
    assert (units.status_code, units.content[:2]) == (200, b"PK")
    assert f"{mine.id}-units.npz" in units.headers["Content-Disposition"]
    assert client.delete(f"/v1/evaluations/{mine.id}").status_code == 204
    assert client.get(f"/v1/evaluations/{mine.id}").status_code == 404


def test_a_comparison_of_other_data_says_so(
    client: httpx2.Client, database: Database, store: FolderStore, model: ModelRow
) -> None:
    rows = [make_evaluation(database, store, model, make_dataset(database, "labeled_text")) for _ in range(2)]
    answer = client.get(f"/v1/evaluations/{rows[0].id}/compare/{rows[1].id}")
    assert answer.status_code == 422
    assert "one data set" in answer.json()["detail"]


def test_a_cursor_that_is_none_is_refused(client: httpx2.Client, model: ModelRow) -> None:
    assert client.get(f"/v1/models/{model.id}/evaluations?cursor=x").status_code == 422


def test_pages_show_the_job(client: httpx2.Client, model: ModelRow, body: dict[str, Any]) -> None:
    job = client.post(f"/v1/models/{model.id}/evaluate", json=body).json()
    page = client.get(f"/jobs/{job['id']}")
    assert page.status_code == 200, page.text
    assert "evaluation" in page.text
    assert "Refused records" not in page.text
    assert "evaluation" in client.get("/").text


def test_pages_show_what_was_found_and_two_beside_each_other(
    client: httpx2.Client, database: Database, store: FolderStore, model: ModelRow
) -> None:
    dataset = make_dataset(database, "labeled_text")
    mine = make_evaluation(database, store, model, dataset)
    theirs = make_evaluation(database, store, make_model(database, store), dataset, right=[False] * 4)
    page = client.get(f"/evaluations/{mine.id}")
    assert page.status_code == 200, page.text
    for told in ("Confusion", "Reliability", "There are only 4 examples", f"/compare/{theirs.id}", 'shade-9">2<'):
        assert told in page.text, told
    assert f"/evaluations/{mine.id}" in client.get(f"/models/{model.id}").text
    compared = client.get(f"/evaluations/{mine.id}/compare/{theirs.id}")
    assert compared.status_code == 200, compared.text
    assert "a difference of 0.75" in compared.text


@pytest.mark.parametrize(
    ("figure", "bar"),
    [
        (Figure(value=0.5, low=0.25, high=1.0), (25.0, 75.0, 50.0)),
        (Figure(value=2.0, low=1.0, high=4.0), (22.73, 68.18, 45.45)),
        (Figure(value=-1.0, low=-2.0, high=0.5), (7.27, 90.91, 43.64)),
        (Figure(value=0.0, low=0.0, high=0.0), (0.0, 0.0, 0.0)),
    ],
)
def test_an_interval_is_drawn_where_it_lies(figure: Figure, bar: tuple[float, float, float]) -> None:
    drawn = _bar(figure)
    assert (drawn.start, drawn.width, drawn.mark) == pytest.approx(bar, abs=0.01)
