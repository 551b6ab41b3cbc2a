"""An evaluation is checked as far as can be without its data, and its model is settled when it is asked for."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from app.contract.errors import InvalidRequest
from app.contract.job import JobStatus
from app.contract.model_folder import BodyDescription
from app.contract.specs.job import job_spec_adapter
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, DatasetRow, ModelRow
from app.services.jobs import JobFilters, Jobs, JobView
from app.storage import FolderStore
from tests.factories import FEATURES_BODY, IMAGE_BODY, TEXT_BODY, make_dataset, make_model

pytestmark = pytest.mark.databases("sqlite")


def model_of(
    database: Database, store: FolderStore, method: str, body: BodyDescription = TEXT_BODY, **description: Any
) -> ModelRow:
    """Of any method: the row alone is asked."""
    row = make_model(database, store, body=body)
    kind = "finetune" if method in {"classification", "sequence_labeling"} else "pretrain"
    with database.transaction() as session:
        found = session.get_one(ModelRow, row.id)
        found.method = method
        found.description = found.description | {"kind": kind, "method": method, **description}
        return found


def submit(jobs: Jobs, model: ModelRow, dataset: DatasetRow, **spec: Any) -> JobView:
    asked = {"kind": "evaluate", "model": model.id, "dataset": dataset.id, **spec}
    return jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(asked))


def test_it_is_queued_with_the_model_settled(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = model_of(database, store, "causal_language_model")
    view = submit(jobs, model, make_dataset(database, num_examples=12), seed=4)
    assert (view.kind, view.method, view.parent_model_id) == ("evaluate", "causal_language_model", model.id)
    assert (view.spec["seed"], view.spec["resamples"], view.progress.total_steps) == (4, 1_000, 12)


@dataclass(frozen=True)
class Misfit:
    """`told`: what the refusal says, besides naming the field at `location`."""

    method: str
    told: tuple[str, ...]
    body: BodyDescription = TEXT_BODY
    description: dict[str, Any] = field(default_factory=dict)
    kind: str = "text"
    profile: dict[str, Any] = field(default_factory=dict)
    location: str = "dataset"


JUDGE = {"labels": ["a", "b"]}
MISFITS = {
    "a-gan": Misfit("gan", ("GAN", "likelihood", "validation_loss"), FEATURES_BODY, kind="vectors", location="model"),
    "no-head": Misfit(
        "classification", ("without its head",), description={"headless": True}, kind="labeled_text", location="model"
    ),
    "no-labels": Misfit("classification", ("labeled_text", "of kind text"), description=JUDGE),
    "labels-for-a-language-model": Misfit("causal_language_model", ("instructions or text",), kind="labeled_text"),
    "images-for-vectors": Misfit(
        "autoencoder", ("labeled_vectors, scored_vectors or vectors",), FEATURES_BODY, kind="images"
    ),
    "other-images": Misfit("autoencoder", ("1x8x9", "1x8x8"), IMAGE_BODY, kind="images", profile={"shape": [1, 8, 9]}),
    "other-targets": Misfit(
        "regression",
        ("3 targets", "tells 2"),
        FEATURES_BODY,
        {"target_size": 2},
        "scored_vectors",
        {"num_features": 4, "target_size": 3},
    ),
    "unknown-label": Misfit(
        "classification",
        ("does not know: c", "knows a, b"),
        description=JUDGE,
        kind="labeled_text",
        profile={"labels": {"a": 3, "c": 1}},
    ),
    "unknown-tag": Misfit(  # I-A may begin a span, and so be B-A
        "sequence_labeling",
        ("does not know: I-C. It",),
        description={"labels": ["B-A", "O"]},
        kind="tagged_tokens",
        profile={"labels": {"I-A": 1, "I-C": 2}},
    ),
}


@pytest.mark.parametrize("case", MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_is_refused_naming_both(
    case: Misfit, jobs: Jobs, database: Database, store: FolderStore
) -> None:
    model = model_of(database, store, case.method, case.body, **case.description)
    dataset = make_dataset(database, case.kind, profile=case.profile)
    with pytest.raises(InvalidRequest) as caught:
        submit(jobs, model, dataset)
    assert [error.location for error in caught.value.errors] == [case.location]
    assert all(each in caught.value.detail for each in case.told), caught.value.detail
    assert jobs.page(DEFAULT_PROJECT_ID, JobFilters(kinds=("evaluate",)), None, 10).data == []


def test_labels_fit_whatever_type_a_file_gives_them(jobs: Jobs, database: Database, store: FolderStore) -> None:
    model = model_of(database, store, "classification", labels=[1, 2])
    dataset = make_dataset(database, "labeled_text", profile={"labels": {"1": 2}})
    assert submit(jobs, model, dataset).status == JobStatus.QUEUED
