"""`/v1/sweeps` over HTTP: what is accepted, and what is refused with path, value and remedy."""

from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from app.contract.job import JobStatus
from app.contract.webhooks import WebhookEvent
from app.db import attempts, queue
from app.db.session import Database, now
from app.db.tables import JobRow, OutboxRow, SweepRow
from app.services.sweeps.controller import SweepController
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import FEATURES_BODY, make_dataset, make_job, make_model, make_webhook

pytestmark = pytest.mark.databases("sqlite")
RATE = "training.optimizer.learning_rate"
UP_TO_TEN = {"type": "log_uniform", "low": 1e-5, "high": 0.1}
LABELED = {"num_features": 4, "labels": {"often": 16, "rare": 4}, "num_labels": 2}


@pytest.fixture
def job(database: Database) -> dict[str, Any]:
    return {
        "kind": "pretrain",
        "dataset": make_dataset(database, "vectors", num_examples=20).id,
        "method": {"type": "autoencoder"},
    }


@pytest.fixture
def controller(database: Database, store: FolderStore, settings: Settings) -> SweepController:
    return SweepController(database, store, settings)


def test_a_sweep_is_accepted_and_told_where_it_is(client: httpx2.Client, job: dict[str, Any]) -> None:
    body = {"name": "rates", "job": job, "search": {RATE: UP_TO_TEN}}
    answer = client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": "once"})

    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert answer.headers["Location"] == f"/v1/sweeps/{view['id']}"
    assert view["id"].startswith("swp_")
    assert (view["status"], view["num_trials"], view["trials"], view["best"]) == ("running", 20, [], None)
    assert view["spec"]["job"]["training"]["batch_size"] == 64
    assert view["reason"] == "0 of 20 trials have ended."
    assert client.get(answer.headers["Location"]).json() == view
    again = client.post("/v1/sweeps", json=body, headers={"Idempotency-Key": "once"})
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (view["id"], "true")
    listed = client.get("/v1/sweeps").json()["data"]
    assert [each["id"] for each in listed] == [view["id"]]
    assert "trials" not in listed[0]
    assert client.get("/v1/sweeps?status=paused").json()["data"] == []


def test_trials_are_jobs_that_name_their_sweep(
    client: httpx2.Client, job: dict[str, Any], controller: SweepController
) -> None:
    sweep = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}, "folds": 2}).json()
    controller.round()

    jobs = client.get(f"/v1/jobs?sweep={sweep['id']}").json()["data"]
    assert {(each["sweep_id"], each["trial"], each["fold"]) for each in jobs} == {
        (sweep["id"], trial, fold) for trial in (0, 1) for fold in (0, 1)
    }
    assert jobs[0]["name"] == "sweep: trial 1, fold 2 of 2"
    view = client.get(f"/v1/sweeps/{sweep['id']}").json()
    assert view["trials_by_state"] == {"running": 2}
    assert view["trials"][0]["folds"][1]["job_id"] in {each["id"] for each in jobs}
    rows = client.get(f"/v1/sweeps/{sweep['id']}/trials.csv")
    assert rows.headers["Content-Type"] == "text/csv; charset=utf-8"
    header, first, second = rows.text.splitlines()
    assert header == f"number,state,mean,standard_deviation,step,{RATE},score_0,score_1,jobs"
    assert first.startswith("0,running,,,0,")
    assert str(view["trials"][1]["parameters"][RATE]) in second


def test_a_sweep_is_steered_as_a_whole(client: httpx2.Client, job: dict[str, Any], controller: SweepController) -> None:
    path = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}}).headers["Location"]
    controller.round()

    assert client.post(f"{path}/pause").json()["status"] == "paused"
    assert client.post(f"{path}/pause").status_code == 409
    assert client.post(f"{path}/resume").json()["status"] == "running"
    assert client.delete(path).status_code == 409
    assert "is running and cannot be deleted" in client.get(f"{path}/deletion").json()["blocked_by"][0]
    assert client.post(f"{path}/cancel").json()["status"] == "cancelled"
    assert client.post(f"{path}/cancel").status_code == 202
    refused = client.post(f"{path}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert "is cancelled and cannot be resumed" in refused.json()["detail"]
    told = {"freed_bytes": 0, "freed_files": 0, "blocked_by": [], "stays": ["Its 2 jobs go with it."]}
    assert client.get(f"{path}/deletion").json() == told
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_a_sweep_whose_jobs_still_stop_is_stopping(
    client: httpx2.Client, database: Database, job: dict[str, Any], controller: SweepController
) -> None:
    path = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}}).headers["Location"]
    controller.round()
    with database.transaction() as session:
        attempts.claim(session, owner="wrk_a", devices=("auto",), lease_seconds=600.0)

    assert client.post(f"{path}/pause").json()["status"] == "pausing"
    refused = client.post(f"{path}/resume")
    assert refused.status_code == 409
    assert "is pausing and cannot be resumed" in refused.json()["detail"]
    assert client.post(f"{path}/cancel").json()["status"] == "cancelling"


def test_what_a_sweep_will_need_stays_until_it_has_ended(
    client: httpx2.Client, database: Database, job: dict[str, Any], controller: SweepController
) -> None:
    path = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}}).headers["Location"]

    kept = client.delete(f"/v1/datasets/{job['dataset']}")
    assert kept.status_code == 409
    assert "Sweeps that have not ended need it: swp_" in kept.json()["detail"]
    controller.round()
    [job_id, _] = [each["id"] for each in client.get("/v1/jobs").json()["data"]]
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert "belongs to a sweep that has not ended" in client.delete(f"/v1/jobs/{job_id}").json()["detail"]
    client.post(f"{path}/cancel")
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert client.delete(f"/v1/datasets/{job['dataset']}").status_code == 204


def test_a_sweep_of_finetunes_waits_for_its_parent(
    client: httpx2.Client, database: Database, job: dict[str, Any], controller: SweepController
) -> None:
    parent = client.post("/v1/jobs", json=job).json()["id"]
    dataset = make_dataset(database, "labeled_vectors", num_examples=20, profile=LABELED)
    finetune = {"kind": "finetune", "parent": parent, "dataset": dataset.id, "method": {"type": "classification"}}

    path = client.post("/v1/sweeps", json={"job": finetune, "search": {RATE: UP_TO_TEN}}).headers["Location"]
    controller.round()
    view = client.get(path).json()
    assert {fold["status"] for trial in view["trials"] for fold in trial["folds"]} == {"waiting"}
    assert f"Trials wait for the parent {parent}." in view["reason"]
    client.post(f"/v1/jobs/{parent}/cancel")
    with database.transaction() as session:
        queue.release_waiting(session, now(session))
    controller.round()

    failed = client.get(path).json()
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "parent_failed"
    assert len(failed["trials"]) == 2, "no trial more begins for a parent that is gone"


def test_an_alias_is_pinned_when_the_sweep_is_asked_for(
    client: httpx2.Client, database: Database, store: FolderStore, controller: SweepController
) -> None:
    model = make_model(database, store, body=FEATURES_BODY)
    other = make_model(database, store, body=FEATURES_BODY)
    client.put(f"/v1/models/{model.id}/aliases/base")
    dataset = make_dataset(database, "labeled_vectors", num_examples=20, profile=LABELED)
    job = {"kind": "finetune", "parent": "base", "dataset": dataset.id, "method": {"type": "classification"}}
    path = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}}).headers["Location"]
    client.put(f"/v1/models/{other.id}/aliases/base")
    controller.round()

    jobs = client.get(f"/v1/jobs?sweep={path.split('/')[-1]}").json()["data"]
    assert {each["parent"] for each in jobs} == {model.id}
    kept = client.delete(f"/v1/models/{model.id}")
    assert "Sweeps that have not ended start from it" in kept.json()["detail"]


def test_a_webhook_is_told_of_the_end_of_a_sweep(
    client: httpx2.Client, database: Database, job: dict[str, Any]
) -> None:
    make_webhook(database, events=[WebhookEvent.SWEEP_CANCELLED])
    path = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}}).headers["Location"]
    client.post(f"{path}/cancel")

    with database.reading() as session:
        [notice] = session.scalars(select(OutboxRow)).all()
    assert notice.payload["type"] == "sweep.cancelled"
    assert notice.payload["data"]["id"] == path.split("/")[-1]


def test_a_trial_is_no_parent_until_it_is_a_model(
    client: httpx2.Client, database: Database, job: dict[str, Any]
) -> None:
    trial = make_job(database, status=JobStatus.SUCCEEDED, spec=job, sweep_id="swp_a", trial=0, fold=0)
    dataset = make_dataset(database, "labeled_vectors", num_examples=20, profile=LABELED)
    spec = {"kind": "finetune", "parent": trial.id, "dataset": dataset.id, "method": {"type": "classification"}}

    answer = client.post("/v1/jobs", json=spec)

    assert answer.status_code == 422
    assert "is a trial of the sweep swp_a" in answer.json()["detail"]
    assert "Promote one of the job's checkpoints" in answer.json()["detail"]


def searching(path: str, **search: Any) -> dict[str, Any]:
    return {"search": {path: search}}


@pytest.mark.parametrize(
    ("fields", "location", "told"),
    [
        (searching("training.optimizer.lr", type="uniform", low=0.1, high=1), "search.training.optimizer.lr",
         'With training.optimizer.lr 0.1: There is no field "lr" here.'),
        (searching("training.nothing.at_all", type="uniform", low=0.1, high=1), "search.training.nothing.at_all",
         'There is no field "nothing" here.'),
        (searching(RATE, type="uniform", low=-1, high=0.1), f"search.{RATE}", f"With {RATE} -1.0: "),
        (searching(RATE, type="uniform", low=1, high=1_000), f"search.{RATE}", f"With {RATE} 1000.0: "),
        (searching("training.batch_size", type="uniform", low=8, high=64), "search.training.batch_size",
         "With training.batch_size 8.0: "),
        (searching("method.architecture.dropout", type="uniform", low=0, high=1), "search.method.architecture.dropout",
         "With method.architecture.dropout 1.0: "),
        (searching("training.optimizer.type", type="categorical", choices=["adamw", "lion"]),
         "search.training.optimizer.type", 'There is no type "lion" here.'),
        (searching("training.batch_size.size", type="int_uniform", low=1, high=2), "search.training.batch_size.size",
         "goes through training.batch_size, which is 64 and has no fields."),
        (searching("dataset", type="categorical", choices=["x"]), "search.dataset", "begin with method, training"),
        (searching("training.seed", type="int_uniform", low=0, high=9), "search.training.seed",
         "decides what a trial is judged by"),
        (searching("method.architecture.hidden_widths", type="categorical", choices=[[10**5], [8]]),
         "search.method.architecture.hidden_widths", "With method.architecture.hidden_widths [100000]: "),
        (searching("method.architecture", type="categorical", choices=[{"type": "conv"}]), "search.method.architecture",
         "takes a data set of kind images"),
        ({"folds": 15}, "folds", "count is 15, and the data set"),
        ({"folds": 2, "group": "patient", "dataset_file": "x.npz"}, "group", "is a .npz"),
        ({"group": "patient"}, "", "give folds, or leave group out"),
        ({"trials": 1_000, "folds": 10}, "trials", "are 10,000 jobs"),
        ({"sampler": "grid"}, f"search.{RATE}", "give `points`"),
        ({"pruner": {"min_fraction": 0.9}}, "pruner", "give at most 0.333"),
        ({"pruner": {"min_fraction": 5e-324}}, "pruner.min_fraction", "greater than or equal to 0.000001, not 5e-324"),
        ({"budget": {}}, "budget", "give steps or minutes"),
        ({"finalize": {"alias": "model_x"}}, "alias", "cannot be an alias"),
        (searching(RATE, type="log_uniform", low=0, high=1), f"search.{RATE}.low", "greater than 0"),
        (searching(RATE, type="uniform", low=1, high=0.1), f"search.{RATE}", "low 1.0 is not below high 0.1"),
        (searching(RATE, type="gauss"), f"search.{RATE}.type", "gauss"),
        ({"search": {}}, "search", "at least 1"),
        ({"objective": {"metric": "f1"}}, "objective.metric", "measures no 'f1'. Give one of validation_loss."),
        ({"objective": {"metric": 7}}, "objective.metric", "a valid string"),
    ],
)  # fmt: skip
def test_what_no_trial_could_run_is_refused(
    client: httpx2.Client, database: Database, job: dict[str, Any], *, fields: dict[str, Any], location: str, told: str
) -> None:
    if filename := fields.pop("dataset_file", None):
        job["dataset"] = make_dataset(database, "vectors", filename=filename).id
    job["training"] = {"batch_size": 64}
    if fields.get("folds") == 15:
        job["dataset"] = make_dataset(database, "vectors").id

    answer = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}} | fields)

    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert told.lower() in problem["errors"][0]["message"].lower(), problem
    assert problem["errors"][0]["location"] == location
    with database.reading() as session:
        assert [session.scalar(select(func.count()).select_from(row)) for row in (SweepRow, JobRow)] == [0, 0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"training": {"validation_fraction": 0}}, "so nothing tells one trial from another"),
        ({"webhook": {"url": "https://example.com"}}, "A sweep's jobs have no webhook of their own."),
        ({"dataset": f"ds_{'0' * 32}"}, "There is no data set"),
    ],
)
def test_a_job_that_makes_no_sweep_is_refused(
    client: httpx2.Client, job: dict[str, Any], change: dict[str, Any], told: str
) -> None:
    answer = client.post("/v1/sweeps", json={"job": job | change, "search": {RATE: UP_TO_TEN}})

    assert answer.status_code == 422, answer.text
    assert told in answer.json()["detail"]
    assert answer.json()["errors"][0]["location"].startswith("job.")


def test_more_folds_than_the_rarest_label_has_examples_are_refused(
    client: httpx2.Client, database: Database, store: FolderStore
) -> None:
    parent = make_model(database, store, body=FEATURES_BODY)
    dataset = make_dataset(database, "labeled_vectors", num_examples=20, profile=LABELED)
    job = {"kind": "finetune", "parent": parent.id, "dataset": dataset.id, "method": {"type": "classification"}}

    answer = client.post("/v1/sweeps", json={"job": job, "search": {RATE: UP_TO_TEN}, "folds": 5})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == "folds"
    assert "'rare'" in answer.json()["detail"]
    assert "at most 4 folds" in answer.json()["detail"]
