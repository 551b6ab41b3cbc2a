"""Folds that a data set cannot be cut into are refused before anything is read."""

from typing import Any

import pytest

from app.contract.specs.job import job_spec_adapter
from app.db.session import Database
from app.services.estimate import Estimates
from app.services.jobs import Jobs
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.jobs.test_submission import autoencoder, finetune, refused, submit
from tests.factories import FEATURES_BODY, language_model_spec, make_dataset, make_model

pytestmark = pytest.mark.databases("sqlite")
LABELED = {"num_features": 4, "labels": {"often": 16, "rare": 4}, "num_labels": 2}


def folds(count: int, **fields: Any) -> dict[str, Any]:
    return {"validation_fold": {"count": count, "index": 0, **fields}}


def test_more_folds_than_the_rarest_label_has_examples_are_refused(
    jobs: Jobs, database: Database, store: FolderStore
) -> None:
    parent = make_model(database, store, body=FEATURES_BODY)
    dataset = make_dataset(database, "labeled_vectors", num_examples=20, profile=LABELED)

    refusal = refused(jobs, finetune(parent.id, dataset.id, training=folds(5)))

    assert refusal.errors[0].location == "training.validation_fold.count"
    assert "count is 5" in refusal.detail.lower()
    assert "'rare'" in refusal.detail
    assert "at most 4 folds" in refusal.detail
    assert submit(jobs, finetune(parent.id, dataset.id, training=folds(4))).status == "queued"


def test_more_folds_than_examples_are_refused(jobs: Jobs, database: Database) -> None:
    refusal = refused(jobs, autoencoder(make_dataset(database, "vectors").id) | {"training": folds(11)})

    assert refusal.errors[0].location == "training.validation_fold.count"
    assert "has 10 examples" in refusal.detail


@pytest.mark.parametrize(
    ("kind", "filename", "told"),
    [("vectors", "data.npz", "is a .npz"), ("text", "data.jsonl", "is a stream of text")],
)
def test_a_group_where_there_are_no_columns_is_refused(
    jobs: Jobs, database: Database, kind: str, filename: str, told: str
) -> None:
    dataset = make_dataset(database, kind, filename=filename)
    spec = autoencoder(dataset.id) if kind == "vectors" else language_model_spec(dataset.id)

    refusal = refused(jobs, spec | {"training": folds(2, group="patient")})

    assert refusal.errors[0].location == "training.validation_fold.group"
    assert told in refusal.detail


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (folds(3) | {"validation_fold": {"count": 3, "index": 3}}, "index 3 is none of 3 folds: give 0 to 2"),
        (folds(3) | {"validation_dataset": f"ds_{'0' * 32}"}, "are both given"),
    ],
)
def test_folds_that_contradict_themselves_are_refused(training: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        job_spec_adapter.validate_python(autoencoder(f"ds_{'1' * 32}") | {"training": training})


def test_an_estimate_counts_what_trains(database: Database, settings: Settings) -> None:
    dataset = make_dataset(database, "vectors", num_examples=100)
    training = folds(4) | {"duration": {"epochs": 2.0}, "batch_size": 5}
    spec = job_spec_adapter.validate_python(autoencoder(dataset.id) | {"training": training})

    estimate = Estimates(database, settings).estimate("default", spec)  # type: ignore[arg-type]

    assert estimate.total_steps == 30
