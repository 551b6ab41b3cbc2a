"""Every parent against every fine-tune: what docs/methods.md tells is what the API does."""

from typing import Any, get_args

import httpx2
import pytest

from app.contract.compatibility import METHOD_TRAITS
from app.contract.job import JobStatus
from app.contract.model_folder import BodyDescription
from app.db.session import Database
from app.method_table import DOCUMENT_PATH, FINE_TUNES, Parent, parents, rendered
from app.storage import FolderStore
from tests.factories import make_dataset, make_job, make_model


def test_the_committed_table_is_that_of_the_code() -> None:
    assert DOCUMENT_PATH.read_text(encoding="utf-8") == rendered(), "run `make documents` and look at what changes"


def test_every_method_is_a_parent() -> None:
    assert {parent.method[1] for parent in parents()} == {method for _, method in METHOD_TRAITS}


def test_every_architecture_is_that_of_a_parent() -> None:
    architectures = get_args(BodyDescription.model_fields["architecture"].annotation)
    types = {architecture.model_fields["type"].default for architecture in architectures}
    assert {parent.body.architecture.type for parent in parents()} == types


class Service:
    """Asks for jobs over HTTP, of data sets that are there."""

    def __init__(self, client: httpx2.Client, database: Database, store: FolderStore) -> None:
        self._client, self._database, self._store = client, database, store
        kinds = {kind for traits in METHOD_TRAITS.values() for kind in traits.dataset_kinds.values()}
        self._datasets = {kind: make_dataset(database, kind).id for kind in kinds}
        self._names: dict[tuple[Any, ...], str] = {}

    def name_of(self, parent: Parent) -> str:
        """An unfinished job that will make such a model, or the model where it was imported."""
        if parent.kind not in self._names:
            self._names[parent.kind] = self._model(parent) if parent.is_imported else self._job(parent)
        return self._names[parent.kind]

    def _job(self, parent: Parent) -> str:
        spec = self._spec(parent)
        if parent.origin is None:
            spec["method"]["architecture"] = {"type": parent.body.architecture.type}
        else:
            spec["parent"] = self.name_of(parent.origin)
        answer = self._client.post("/v1/jobs", json=spec)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def _model(self, parent: Parent) -> str:
        job = make_job(self._database, status=JobStatus.SUCCEEDED, spec=self._spec(parent))
        return make_model(self._database, self._store, job=job, body=parent.body).id

    def _spec(self, parent: Parent) -> dict[str, Any]:
        kind, method = parent.method
        return {"kind": kind, "dataset": self._datasets[parent.dataset_kind], "method": {"type": method}}

    def asked(self, parent: Parent, method: str, dataset_kind: str) -> httpx2.Response:
        body = {"kind": "finetune", "method": {"type": method}, "parent": self.name_of(parent)}
        return self._client.post("/v1/jobs/estimate", json=body | {"dataset": self._datasets[dataset_kind]})


@pytest.mark.databases("sqlite")  # the rules know no database
def test_the_api_takes_and_refuses_what_the_table_tells(
    client: httpx2.Client, database: Database, store: FolderStore
) -> None:
    """Judged as a submission is, and nothing is queued."""
    service = Service(client, database, store)
    for parent in parents():
        for fine_tune in FINE_TUNES:
            kinds = METHOD_TRAITS[fine_tune].dataset_kinds
            fitting = kinds.get(parent.body.input)
            answer = service.asked(parent, fine_tune[1], fitting or next(iter(kinds.values())))
            if parent.misfit(fine_tune) is None:
                assert answer.status_code == 200, (parent.kind, fine_tune, answer.text)
            else:
                _check_refusal(answer, parent, fine_tune[1])


def _check_refusal(answer: httpx2.Response, parent: Parent, method: str) -> None:
    """Both sides are named, and what would fit."""
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "parent_incompatible"), (parent.kind, method, answer.text)
    assert [error["location"] for error in problem["errors"]] == ["parent"]
    assert problem["detail"].startswith(f"{method} cannot start from the ")
    assert f"a model of the method {parent.method[1]}" in problem["detail"]
    assert "From this parent: " in problem["detail"]


@pytest.mark.parametrize("fine_tune", FINE_TUNES, ids=lambda method: method[1])
def test_every_fine_tune_has_a_parent(fine_tune: tuple[str, str]) -> None:
    assert any(parent.misfit(fine_tune) is None for parent in parents())
