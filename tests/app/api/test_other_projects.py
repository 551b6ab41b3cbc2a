"""What belongs to another project is not there: every route and page that takes an id, with a stranger's key."""

import re
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.api.auth import SESSION_COOKIE
from app.contract.job import JobStatus
from app.db.session import Database
from app.services.keys import Keys
from app.storage import FolderStore
from tests.factories import (
    language_model_spec,
    make_artifact,
    make_checkpoint,
    make_dataset,
    make_evaluation,
    make_job,
    make_model,
    make_notice,
    make_webhook,
    put,
)
from tests.support.routes import operations, pages

RESOURCES = (
    "{dataset_id}",
    "{job_id}",
    "{model}",
    "{key_id}",
    "{webhook_id}",
    "{delivery_id}",
    "{evaluation_id}",
    "{other_id}",
    "{sweep_id}",
)
WITHIN = {"{step}": "5", "{name}": "a.txt", "{alias}": "best"}
#: They name what belongs to nobody.
PUBLIC = {"{code}", "{kind}", "{type}"}
BODIES: dict[str, dict[str, Any]] = {
    "predict": {"inputs": ["x"]},
    "embed": {"inputs": ["x"]},
    "generate": {"prompt": "x"},
    "batch_predict": {"dataset": "{dataset_id}"},
    "evaluate": {"dataset": "{dataset_id}"},
}
OPERATIONS = [(method, path) for method, path in operations() if any(name in path for name in RESOURCES)]
READ = [path for method, path in OPERATIONS if method == "GET"]
PAGES = [page for page in pages() if "{" in page]
NOWHERE = {"{dataset_id}": "ds_" + "0" * 32, "{job_id}": "job_" + "0" * 32, "{model}": "model_" + "0" * 32} | {
    "{key_id}": "key_" + "0" * 32,
    "{webhook_id}": "wh_" + "0" * 32,
    "{evaluation_id}": "eval_" + "0" * 32,
    "{other_id}": "eval_" + "1" * 32,
    "{delivery_id}": "msg_" + "0" * 32,
    "{sweep_id}": "swp_" + "0" * 32,
}


@dataclass
class Two:
    """The owner of `ids`, which stand for the names in paths, and a stranger."""

    client: TestClient
    owner: str
    stranger: str
    ids: dict[str, str]

    def call(self, key: str | None, method: str, path: str, ids: dict[str, str], **options: Any) -> httpx2.Response:
        for name, value in (WITHIN | self.ids | ids).items():
            path = path.replace(name, value)
        if body := BODIES.get(path.rsplit("/", 1)[-1]):
            options["json"] = {name: (self.ids | ids).get(str(value), value) for name, value in body.items()}
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.client.request(method, path, headers=headers, **options)


@pytest.fixture
def two(client: TestClient, database: Database, store: FolderStore) -> Two:
    keys = Keys(database)
    owner, stranger = keys.create("owner").text, keys.create("stranger").text
    spare = keys.create("owner").view
    two = Two(client, owner, stranger, {})
    dataset = make_dataset(database, project_id="owner")
    put(store, dataset.blob_key, b'{"text": "hello"}\n')
    spec = language_model_spec(dataset.id, metadata={"team": "nlp"})
    webhook = make_webhook(database, project_id="owner")
    job = make_job(database, status=JobStatus.SUCCEEDED, spec=spec, project_id="owner")
    model = make_model(database, store, job=job, name="mine")
    make_checkpoint(database, store, job, 5)
    make_artifact(database, store, job)
    two.ids |= {"{dataset_id}": dataset.id, "{job_id}": job.id, "{model}": model.id, "{key_id}": spare.id}
    two.ids |= {"{webhook_id}": webhook.id, "{delivery_id}": make_notice(database, webhook).id}
    for name in ("{evaluation_id}", "{other_id}"):
        two.ids[name] = make_evaluation(database, store, model, dataset).id
    assert two.call(owner, "PUT", "/v1/models/{model}/aliases/best", {}).status_code == 200
    search = {"training.optimizer.learning_rate": {"type": "log_uniform", "low": 1e-4, "high": 1e-2}}
    sweep = two.call(owner, "POST", "/v1/sweeps", {}, json={"job": spec, "search": search})
    two.ids |= {"{sweep_id}": sweep.json()["id"]}
    return two


def told(answer: httpx2.Response, ids: dict[str, str]) -> tuple[int, str, str]:
    """What an answer says, but for the ids that it repeats."""
    detail = answer.json()["detail"]
    for name, value in ids.items():
        detail = detail.replace(value, name)
    return answer.status_code, answer.json()["code"], detail


def test_every_route_with_an_id_is_walked() -> None:
    """Whoever adds one says here whose it is."""
    paths = {path for _, path in operations()}
    named = {name for path in paths for name in re.findall(r"\{\w+\}", path)}
    assert named == {*RESOURCES, *WITHIN, *PUBLIC}
    assert {path for path in paths if re.search("|".join(WITHIN), path)} <= {path for _, path in OPERATIONS}


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_what_is_anothers_are_not_there(two: Two, page: str) -> None:
    ids = {"{ref}": two.ids["{model}"]}
    statuses = []
    for key in (two.owner, two.stranger):
        two.client.cookies.set(SESSION_COOKIE, key)
        statuses.append(two.call(None, "GET", page, ids).status_code)
    assert statuses == [200, 404]


@pytest.mark.parametrize("address", ["/compare?job={job_id}", "/jobs/new?clone={job_id}"])
def test_pages_take_no_ids_of_others_in_their_addresses(two: Two, address: str) -> None:
    for key, expected in ((two.owner, 200), (two.stranger, 404)):
        two.client.cookies.set(SESSION_COOKIE, key)
        assert two.call(None, "GET", address, {}).status_code == expected


def test_a_stranger_is_told_what_is_told_of_an_id_that_is_nowhere(two: Two) -> None:
    """On every route, and nothing is changed by it: the owner reads all of it still."""
    for method, path in OPERATIONS:
        foreign = told(two.call(two.stranger, method, path, {}), two.ids)
        nowhere = told(two.call(two.stranger, method, path, NOWHERE), NOWHERE)
        assert foreign == nowhere, (method, path)
        assert foreign[:2] == (404, "not_found"), (method, path)
    for path in READ:
        assert _finds(two.call(two.owner, "GET", path, {})), path


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("method", "path"), [each for each in OPERATIONS if each[0] != "GET"])
def test_the_owner_is_not_told_that(two: Two, method: str, path: str) -> None:
    """Else a route that knows nothing at all would pass for one that keeps strangers out."""
    answer = two.call(two.owner, method, path, {})
    assert _finds(answer), answer.text


def _finds(answer: httpx2.Response) -> bool:
    return answer.status_code not in {401, 403, 404, 422}


@pytest.mark.parametrize("path", ["/v1/models/best", "/v1/models/best/lineage", "/v1/models/best/archive"])
def test_aliases_are_a_projects_own(two: Two, path: str) -> None:
    assert two.call(two.stranger, "GET", path, {}).status_code == 404
    assert two.call(two.owner, "GET", path, {}).status_code == 200


@pytest.mark.parametrize(
    ("path", "owners"),
    [
        ("/v1/datasets", 1),
        ("/v1/jobs", 3),  # two of them are evaluations
        ("/v1/sweeps", 1),
        ("/v1/jobs?metadata.team=nlp", 1),
        ("/v1/models", 1),
        ("/v1/models?job={job_id}", 1),
        ("/v1/models?name=mine", 1),
    ],
)
def test_lists_hold_a_projects_own(two: Two, path: str, owners: int) -> None:
    assert len(two.call(two.owner, "GET", path, {}).json()["data"]) == owners
    assert two.call(two.stranger, "GET", path, {}).json() == {"data": [], "next_cursor": None}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/estimate"])
@pytest.mark.parametrize("place", ["dataset", "validation_dataset", "{job_id}", "{model}", "best"])
def test_a_job_cannot_be_made_of_what_is_anothers(two: Two, place: str, path: str) -> None:
    """Refused in the words that tell of an id that is nowhere."""
    answer = two.call(two.stranger, "POST", "/v1/datasets", {}, files={"file": ("a.jsonl", b'{"text": "hi"}\n')})
    own = answer.json()["id"]

    def asked(ids: dict[str, str]) -> tuple[int, str, str]:
        spec = spec_with(place, own, ids)
        return told(two.call(two.stranger, "POST", path, {}, json=spec), ids)

    foreign = asked(two.ids)
    assert foreign == asked(NOWHERE)
    assert foreign[0] == 422
    assert two.call(two.stranger, "GET", "/v1/jobs", {}).json()["data"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("fine_tuning/jobs", {"model": "{model}", "training_file": "own"}),
        ("fine_tuning/jobs", {"model": "best", "training_file": "own"}),
        ("fine_tuning/jobs", {"model": "", "training_file": "{dataset_id}", "kind": "pretrain"}),
        (
            "fine_tuning/jobs",
            {"model": "", "training_file": "own", "validation_file": "{dataset_id}", "kind": "pretrain"},
        ),
        ("completions", {"model": "{model}", "prompt": "x"}),
        ("chat/completions", {"model": "best", "messages": [{"role": "user", "content": "x"}]}),
        ("embeddings", {"model": "{model}", "input": "x"}),
    ],
)
def test_the_openai_surface_finds_nothing_of_others(two: Two, path: str, body: dict[str, Any]) -> None:
    answer = two.call(two.stranger, "POST", "/v1/datasets", {}, files={"file": ("a.jsonl", b'{"text": "hi"}\n')})
    own = {"own": answer.json()["id"]}
    method = {"method": {"type": "causal_language_model"}} if path.startswith("fine") else {}

    def asked(ids: dict[str, str]) -> tuple[int, str, str]:
        named = {name: (own | ids).get(str(value), value) for name, value in body.items()}
        return told(two.call(two.stranger, "POST", f"/openai/v1/{path}", {}, json=method | named), ids)

    foreign = asked(two.ids)
    assert foreign == asked(NOWHERE)
    assert "There is no" in foreign[2]
    assert two.call(two.stranger, "GET", "/v1/jobs", {}).json()["data"] == []


def spec_with(place: str, own_dataset: str, ids: dict[str, str]) -> dict[str, Any]:
    match place:
        case "dataset":
            return language_model_spec(ids["{dataset_id}"])
        case "validation_dataset":
            return language_model_spec(own_dataset, training={"validation_dataset": ids["{dataset_id}"]})
        case _:
            parent = ids.get(place, place)
            return {"kind": "finetune", "parent": parent, "dataset": own_dataset, "method": {"type": "classification"}}
