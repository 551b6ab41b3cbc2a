"""A batch prediction is checked as far as can be without its data, and its model is settled when it is asked for."""

from typing import Any, NamedTuple

import pytest

from app.contract.errors import Conflict, ErrorCode, InvalidRequest
from app.contract.job import JobStatus
from app.contract.model_folder import BodyDescription
from app.contract.specs.job import job_spec_adapter
from app.db import models
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, ModelRow
from app.services.jobs import JobFilters, Jobs, JobView
from app.services.models import Models
from app.services.quotas import QuotaExceeded
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.jobs.conftest import RecordedWakes
from tests.factories import (
    FEATURES_BODY,
    IMAGE_BODY,
    TEXT_BODY,
    make_dataset,
    make_job,
    make_model,
    make_project,
)

pytestmark = pytest.mark.databases("sqlite")


def submit(jobs: Jobs, spec: dict[str, Any]) -> JobView:
    return jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python({"kind": "batch_predict", **spec}))


def refused(jobs: Jobs, spec: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        submit(jobs, spec)
    assert jobs.page(DEFAULT_PROJECT_ID, JobFilters(kinds=("batch_predict",)), None, 10).data == []
    return caught.value


def model_of(
    database: Database, store: FolderStore, method: str, body: BodyDescription = TEXT_BODY, **description: Any
) -> ModelRow:
    """Of any method: the row alone is asked."""
    row = make_model(database, store, body=body)
    with database.transaction() as session:
        found = session.get_one(ModelRow, row.id)
        found.method = method
        found.description = found.description | {"method": method, **description}
        return found


def test_it_is_queued_with_the_model_settled_and_every_default_filled_in(
    jobs: Jobs, database: Database, store: FolderStore, wakes: RecordedWakes
) -> None:
    model, dataset = model_of(database, store, "causal_language_model"), make_dataset(database, num_examples=12)
    asked = {"model": model.id, "dataset": dataset.id, "operation": "generate", "name": "night", "priority": 3}
    view = submit(jobs, asked | {"parameters": {"max_tokens": 9}})

    assert (view.kind, view.method, view.status) == ("batch_predict", "causal_language_model", JobStatus.QUEUED)
    assert (view.parent, view.parent_model_id, view.dataset_id) == (model.id, model.id, dataset.id)
    assert (view.name, view.priority, view.queue_position, view.resolved) == ("night", 3, 1, None)
    assert (view.progress.step, view.progress.total_steps, view.progress.fraction) == (0, 12, 0.0)
    assert view.spec["operation"] == "generate"
    told: dict[str, Any] = {"max_tokens": 9, "temperature": 1.0, "top_k": None, "top_p": None, "seed": 0, "stop": []}
    assert view.spec["parameters"].items() >= told.items()
    assert wakes.calls == [{"cpu"}]


def test_a_job_asks_the_model_that_an_alias_pointed_at_when_it_was_made(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    first, second = model_of(database, store, "classification"), model_of(database, store, "classification")
    names = Models(database, store, Settings())
    names.put_alias(DEFAULT_PROJECT_ID, first.id, "live")
    job = submit(jobs, {"model": "live", "dataset": make_dataset(database).id})
    names.put_alias(DEFAULT_PROJECT_ID, second.id, "live")

    view = jobs.get(DEFAULT_PROJECT_ID, job.id)

    assert (view.parent, view.parent_model_id) == ("live", first.id)
    with pytest.raises(Conflict, match=job.id):
        names.delete(DEFAULT_PROJECT_ID, first.id)
    jobs.cancel(DEFAULT_PROJECT_ID, job.id)
    names.delete(DEFAULT_PROJECT_ID, first.id)
    with database.reading() as session:
        assert models.get(session, DEFAULT_PROJECT_ID, first.id) is None


@pytest.mark.databases("sqlite", "postgresql")
def test_parameters_are_kept_whatever_a_text_in_them_holds(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model, dataset = model_of(database, store, "causal_language_model"), make_dataset(database)
    parameters = {"stop": ["\0", "\u2028", "'"]}
    job = submit(jobs, {"model": model.id, "dataset": dataset.id, "operation": "generate", "parameters": parameters})
    assert jobs.get(DEFAULT_PROJECT_ID, job.id).spec["parameters"]["stop"] == parameters["stop"]


def test_a_retry_without_its_model_is_refused(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = model_of(database, store, "classification")
    job = submit(jobs, {"model": model.id, "dataset": make_dataset(database).id})
    jobs.cancel(DEFAULT_PROJECT_ID, job.id)
    Models(database, store, Settings()).delete(DEFAULT_PROJECT_ID, model.id)

    with pytest.raises(Conflict, match=f"needs the model {model.id}, which was deleted"):
        jobs.retry(DEFAULT_PROJECT_ID, job.id)


class Case(NamedTuple):
    """A model of a method, the kind of a data set, and what is asked beside them."""

    method: str
    body: BodyDescription
    kind: str
    asked: dict[str, Any] = {}

    def spec(self, database: Database, store: FolderStore) -> dict[str, Any]:
        model = model_of(database, store, self.method, self.body)
        return {"model": model.id, "dataset": make_dataset(database, self.kind).id, **self.asked}


@pytest.mark.parametrize(
    ("case", "operation"),
    [
        (Case("causal_language_model", TEXT_BODY, "text"), "predict"),
        (Case("instruction_tuning", TEXT_BODY, "instructions"), "generate"),
        (Case("classification", FEATURES_BODY, "labeled_vectors"), "predict"),
        (Case("classification", IMAGE_BODY, "labeled_images"), "predict"),
        (Case("sequence_labeling", TEXT_BODY, "semantic_roles"), "predict"),
        (Case("sequence_labeling", TEXT_BODY, "text"), "predict"),
        (Case("semantic_role_labeling", TEXT_BODY, "semantic_roles"), "predict"),
        (Case("semantic_role_labeling", TEXT_BODY, "scored_text"), "embed"),
        (Case("gan", FEATURES_BODY, "vectors"), "embed"),
    ],
)
def test_where_no_operation_is_asked_for_the_first_is_taken_that_the_data_allow(
    case: Case, operation: str, jobs: Jobs, database: Database, store: FolderStore
) -> None:
    assert submit(jobs, case.spec(database, store)).spec["operation"] == operation


def test_a_body_without_a_head_embeds(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model, dataset = model_of(database, store, "masked_language_model", headless=True), make_dataset(database)
    assert submit(jobs, {"model": model.id, "dataset": dataset.id}).spec["operation"] == "embed"
    with pytest.raises(InvalidRequest, match="without its head does not answer predict; it answers embed"):
        submit(jobs, {"model": model.id, "dataset": dataset.id, "operation": "predict"})


GENERATE, PREDICT = {"operation": "generate"}, {"operation": "predict"}
UNTEMPERED = {**GENERATE, "parameters": {"temperature": "hot"}}


@pytest.mark.parametrize(
    ("case", "refusal"),
    [
        (Case("classification", TEXT_BODY, "text", GENERATE), ("operation", "it answers predict or embed")),
        (Case("gan", FEATURES_BODY, "vectors", PREDICT), ("operation", "it answers generate or embed")),
        (Case("gan", FEATURES_BODY, "vectors", GENERATE), ("operation", "reads no inputs")),
        (Case("classification", TEXT_BODY, "vectors"), ("dataset", "labeled_text, scored_text or text")),
        (Case("classification", FEATURES_BODY, "text"), ("dataset", "labeled_vectors, scored_vectors or vectors")),
        (Case("semantic_role_labeling", TEXT_BODY, "text", PREDICT), ("dataset", "of kind semantic_roles;")),
        (Case("causal_language_model", TEXT_BODY, "instructions", PREDICT), ("dataset", "scored_text or text")),
        (Case("word2vec", TEXT_BODY, "text", {"parameters": {"top_k": 101}}), ("parameters.top_k", "equal to 100")),
        (Case("classification", TEXT_BODY, "text", {"parameters": {"k": 1}}), ("parameters.k", "not permitted")),
        (Case("causal_language_model", TEXT_BODY, "text", UNTEMPERED), ("parameters.temperature", "valid number")),
        (Case("classification", TEXT_BODY, "text", {"resources": {"device": "cuda"}}), ("resources.device", "CPU")),
    ],
)
def test_what_cannot_be_answered_is_refused_at_once(
    case: Case, refusal: tuple[str, str], jobs: Jobs, database: Database, store: FolderStore
) -> None:
    location, told = refusal
    found = refused(jobs, case.spec(database, store))
    assert found.errors[0].location == location
    assert told in found.detail


def test_examples_of_another_shape_are_refused(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = model_of(database, store, "classification", FEATURES_BODY)
    dataset = make_dataset(database, "vectors", profile={"num_features": 5})
    refusal = refused(jobs, {"model": model.id, "dataset": dataset.id})
    assert refusal.code is ErrorCode.DATASET_INCOMPATIBLE
    assert "has 5 features; the model reads 4 features" in refusal.detail


def test_one_endless_text_is_refused(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = model_of(database, store, "classification")
    profile = {"length": {"p50": 200_001, "p95": 200_001, "max": 200_001}}
    dataset = make_dataset(database, filename="book.txt", num_examples=1, profile=profile)
    refusal = refused(jobs, {"model": model.id, "dataset": dataset.id})
    assert "one text of 200,001 characters" in refusal.detail


def test_models_and_data_sets_of_another_project_are_not_there(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    other = make_project(database, "other")
    theirs = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id=other))
    mine, dataset = make_model(database, store), make_dataset(database)

    assert refused(jobs, {"model": theirs.id, "dataset": dataset.id}).errors[0].location == "model"
    foreign = make_dataset(database, project_id=other)
    assert refused(jobs, {"model": mine.id, "dataset": foreign.id}).errors[0].location == "dataset"


def test_it_counts_in_the_quota_of_queued_jobs(
    database: Database, store: FolderStore, settings: Settings, wakes: RecordedWakes
) -> None:
    jobs = Jobs(database, wakes, settings.model_copy(update={"max_queued_jobs": 1}))
    asked = {"model": make_model(database, store).id, "dataset": make_dataset(database).id}
    submit(jobs, asked)
    with pytest.raises(QuotaExceeded):
        submit(jobs, asked)


def test_no_fine_tune_starts_from_it(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model, dataset = make_model(database, store), make_dataset(database, "labeled_text")
    job = submit(jobs, {"model": model.id, "dataset": dataset.id})
    finetune = {"kind": "finetune", "parent": job.id, "dataset": dataset.id, "method": {"type": "classification"}}
    with pytest.raises(InvalidRequest, match=f"makes no model. The model that it asks is {model.id}"):
        jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(finetune))
