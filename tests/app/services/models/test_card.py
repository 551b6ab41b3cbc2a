"""The model card: what hubs read of it, and what a reader finds of where the model comes from."""

import io
import zipfile
from typing import Any

import pytest
from huggingface_hub import ModelCard

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, ModelRow
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import FEATURES_BODY, make_dataset, make_job, make_model

METRICS = {"validation_loss": 0.25, "accuracy": 0.9}
HOSTILE = '"]: - x\n# | `<b>'

pytestmark = pytest.mark.databases("sqlite")


def card_of(database: Database, store: FolderStore, row: ModelRow) -> str:
    content = b"".join(Models(database, store, Settings()).archive(DEFAULT_PROJECT_ID, row.id).chunks)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read("README.md").decode()


def read_by_hubs(card: str) -> Any:
    return ModelCard(card).data


def child_of(database: Database, store: FolderStore, parent: ModelRow, dataset_id: str, **model: Any) -> ModelRow:
    spec = {
        "kind": "finetune",
        "parent": parent.id,
        "dataset": dataset_id,
        "method": {"type": "classification", "pooling": "last"},
        "training": {"batch_size": 17},
    }
    job = make_job(
        database,
        status=JobStatus.SUCCEEDED,
        spec=spec,
        parent_model_id=parent.id,
        resolved={"total_steps": 12_345},
    )
    return make_model(database, store, job=job, parent=parent, labels=("bad", "good"), metrics=METRICS, **model)


def test_hubs_read_what_it_is_for_and_how_well_it_does(database: Database, store: FolderStore) -> None:
    dataset = make_dataset(database, "labeled_text", name="reviews")
    row = child_of(database, store, make_model(database, store), dataset.id, name="judge")
    data = read_by_hubs(card_of(database, store, row))

    assert (data.library_name, data.pipeline_tag) == ("pretune", "text-classification")
    assert data.tags == ["pretune", "finetune", "classification", "transformer"]
    assert data.model_name == "judge"
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == METRICS
    assert {(result.dataset_name, result.dataset_revision) for result in data.eval_results} == {
        ("reviews", dataset.sha256)
    }


def test_it_tells_lineage_digests_spec_and_metrics(database: Database, store: FolderStore) -> None:
    dataset = make_dataset(database, "labeled_text", name="reviews")
    root = make_model(database, store)
    row = child_of(database, store, root, dataset.id)
    text = card_of(database, store, row)

    lines = [line for line in text.splitlines() if line.startswith("| `model_")]
    assert [line.split("`")[1] for line in lines] == [root.id, row.id]
    for told in (row.job_id, dataset.id, dataset.sha256, row.digest, '"batch_size": 17', "12345", "| accuracy | 0.9 |"):
        assert str(told) in text


def test_names_cannot_break_out_of_it(database: Database, store: FolderStore) -> None:
    dataset = make_dataset(database, "labeled_text", name=HOSTILE)
    row = child_of(database, store, make_model(database, store), dataset.id, name=HOSTILE)
    text = card_of(database, store, row)
    data = read_by_hubs(text)

    assert data.model_name == HOSTILE
    assert {result.dataset_name for result in data.eval_results} == {HOSTILE}
    assert "<b>" not in text.split("---\n", 2)[2].split("## Training")[0].replace("\\<b\\>", "")


def test_a_model_without_metrics_has_a_card_too(database: Database, store: FolderStore) -> None:
    row = make_model(database, store, body=FEATURES_BODY, metrics={})
    data = read_by_hubs(card_of(database, store, row))

    assert data.eval_results is None
