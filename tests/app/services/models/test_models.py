"""Models are immutable; what may change is which names point at them, and whether they are still there."""

import threading
from typing import Any

import pytest

from app.contract.errors import Conflict, ErrorCode, InvalidRequest, NotFound, Unavailable
from app.contract.job import JobStatus
from app.db import checkpoints
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, JobRow, ModelRow
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import FEATURES_BODY, make_checkpoint, make_dataset, make_job, make_model

PROJECT = DEFAULT_PROJECT_ID


@pytest.fixture
def models(database: Database, store: FolderStore) -> Models:
    return Models(database, store, Settings())


def finetune(database: Database, parent: str) -> dict[str, Any]:
    dataset = make_dataset(database, "labeled_text")
    return {"kind": "finetune", "parent": parent, "dataset": dataset.id, "method": {"type": "classification"}}


def child_of(database: Database, store: FolderStore, parent: ModelRow) -> ModelRow:
    job = make_job(database, status=JobStatus.SUCCEEDED, spec=finetune(database, parent.id), parent_model_id=parent.id)
    return make_model(database, store, job=job, parent=parent, labels=("bad", "good"))


def weights(row: ModelRow) -> str:
    return f"{row.reference['artifact_prefix']}/model.safetensors"


def test_a_model_tells_what_it_takes_and_gives(models: Models, database: Database, store: FolderStore) -> None:
    row = make_model(database, store, body=FEATURES_BODY, labels=(1, "1", True), name="tiny")
    view = models.get(PROJECT, row.id)
    assert (view.input.kind, view.input.shape, view.input.context_length) == ("features", [4], None)
    assert view.labels == [1, "1", True]
    assert [type(label) for label in view.labels] == [int, str, bool]
    assert (view.name, view.job_id, view.checkpoint_step, view.num_parameters) == ("tiny", row.job_id, 10, 1_000)
    text = models.get(PROJECT, make_model(database, store).id)
    assert (text.input.kind, text.input.shape, text.input.context_length) == ("text", None, 16)


def test_lists_are_filtered_and_the_newest_first(models: Models, database: Database, store: FolderStore) -> None:
    rows = [make_model(database, store, name=name) for name in ("a", "b", "a")]
    page = models.page(PROJECT, cursor=None, limit=2)
    assert [view.id for view in page.data] == [rows[2].id, rows[1].id]
    make_model(database, store)
    rest = models.page(PROJECT, cursor=page.next_cursor, limit=2)
    assert ([view.id for view in rest.data], rest.next_cursor) == ([rows[0].id], None)
    named = models.page(PROJECT, name="a", cursor=None, limit=20)
    assert {view.id for view in named.data} == {rows[0].id, rows[2].id}
    of_job = models.page(PROJECT, job_id=rows[1].job_id, cursor=None, limit=20)
    assert [view.id for view in of_job.data] == [rows[1].id]
    assert models.page(PROJECT, method="classification", cursor=None, limit=20).data == []


@pytest.mark.parametrize("cursor", ["", "x", "job_" + "0" * 32, "model_" + "g" * 32, "model_" + "0" * 32 + "\n"])
def test_a_cursor_that_no_page_gave_is_refused(models: Models, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="no cursor of this list"):
        models.page(PROJECT, cursor=cursor, limit=20)


def test_lineage_goes_from_the_root_to_the_model(models: Models, database: Database, store: FolderStore) -> None:
    root = make_model(database, store)
    child = child_of(database, store, root)
    grandchild = child_of(database, store, child)
    lineage = models.lineage(PROJECT, grandchild.id).data
    assert [(entry.model_id, entry.job_id, entry.method) for entry in lineage] == [
        (root.id, root.job_id, "causal_language_model"),
        (child.id, child.job_id, "classification"),
        (grandchild.id, grandchild.job_id, "classification"),
    ]
    assert [entry.model_id for entry in models.lineage(PROJECT, root.id).data] == [root.id]


def test_an_alias_points_at_one_model_and_can_be_moved(models: Models, database: Database, store: FolderStore) -> None:
    first, second = make_model(database, store), make_model(database, store)
    assert models.put_alias(PROJECT, first.id, "production").aliases == ["production"]
    assert models.get(PROJECT, "production").id == first.id
    assert models.put_alias(PROJECT, second.id, "production").aliases == ["production"]
    assert models.get(PROJECT, "production").id == second.id
    assert models.get(PROJECT, first.id).aliases == []
    assert models.put_alias(PROJECT, "production", "stable").aliases == ["production", "stable"]


def test_an_alias_is_taken_only_from_the_model_that_has_it(
    models: Models, database: Database, store: FolderStore
) -> None:
    first, second = make_model(database, store), make_model(database, store)
    models.put_alias(PROJECT, first.id, "production")
    with pytest.raises(NotFound, match="no alias 'production'"):
        models.delete_alias(PROJECT, second.id, "production")
    models.delete_alias(PROJECT, "production", "production")
    with pytest.raises(NotFound):
        models.get(PROJECT, "production")


def test_another_projects_models_and_aliases_are_not_there(
    models: Models, database: Database, store: FolderStore
) -> None:
    other = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id="other"))
    models.put_alias("other", other.id, "production")
    for ref in (other.id, "production"):
        with pytest.raises(NotFound):
            models.get(PROJECT, ref)
        with pytest.raises(NotFound):
            models.delete(PROJECT, ref)
    mine = make_model(database, store)
    models.put_alias(PROJECT, mine.id, "production")
    assert models.get("other", "production").id == other.id


def test_a_promoted_checkpoint_becomes_a_model_of_its_own(
    models: Models, database: Database, store: FolderStore
) -> None:
    job = make_job(database, status=JobStatus.CANCELLED, name="tiny")
    make_checkpoint(database, store, job, 5, metrics={"validation_loss": 2.0}, labels=("a", "b"))
    view = models.promote(PROJECT, job.id, 5)
    assert (view.job_id, view.checkpoint_step, view.name, view.labels) == (job.id, 5, "tiny", ["a", "b"])
    assert view.metrics == {"validation_loss": 2.0}
    assert models.get(PROJECT, view.id) == view
    with database.reading() as session:
        assert session.get_one(JobRow, job.id).model_id is None, "the job's own result is another matter"


def test_a_checkpoint_whose_files_are_lost_is_no_model(models: Models, database: Database, store: FolderStore) -> None:
    job = make_job(database, status=JobStatus.CANCELLED)
    make_checkpoint(database, store, job, 5)
    store.delete_prefix(PROJECT)
    with pytest.raises(Unavailable, match="The stored file of the checkpoint of step 5 cannot be read"):
        models.promote(PROJECT, job.id, 5)


def test_promoting_twice_gives_one_model(models: Models, database: Database, store: FolderStore) -> None:
    job = make_job(database, status=JobStatus.RUNNING)
    make_checkpoint(database, store, job, 5)
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(models.promote(PROJECT, job.id, 5).id)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


def test_the_checkpoint_that_became_the_jobs_model_is_that_model(
    models: Models, database: Database, store: FolderStore
) -> None:
    row = make_model(database, store, step=10)
    assert models.promote(PROJECT, str(row.job_id), 10).id == row.id


def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(
    models: Models, database: Database, store: FolderStore
) -> None:
    job = make_job(database)
    with pytest.raises(NotFound, match="it keeps none"):
        models.promote(PROJECT, job.id, 7)
    make_checkpoint(database, store, job, 5)
    with pytest.raises(NotFound, match="no checkpoint of step 7; it keeps 5"):
        models.promote(PROJECT, job.id, 7)


def test_a_model_that_is_in_use_stays_and_tells_by_what(models: Models, database: Database, store: FolderStore) -> None:
    row = make_model(database, store)
    child = child_of(database, store, row)
    by_id = make_job(database, spec=finetune(database, row.id))
    by_job = make_job(database, spec=finetune(database, str(row.job_id)), parent_job_id=row.job_id)
    pinned = make_job(database, status=JobStatus.PAUSED, parent_model_id=row.id)
    make_job(database, status=JobStatus.FAILED, spec=finetune(database, row.id))
    models.put_alias(PROJECT, row.id, "production")
    with pytest.raises(Conflict) as caught:
        models.delete(PROJECT, row.id)
    assert caught.value.code is ErrorCode.RESOURCE_IN_USE
    for named in ("production", child.id, by_id.id, by_job.id, pinned.id):
        assert named in caught.value.detail
    assert models.get(PROJECT, row.id).id == row.id
    assert store.exists(weights(row))


def test_a_deleted_model_is_gone_and_its_job_knows(models: Models, database: Database, store: FolderStore) -> None:
    row = make_model(database, store)
    models.delete(PROJECT, row.id)
    with pytest.raises(NotFound):
        models.get(PROJECT, row.id)
    with database.reading() as session:
        assert session.get_one(JobRow, row.job_id).model_id is None


def test_deleting_a_model_leaves_the_checkpoint_it_was_made_of(
    models: Models, database: Database, store: FolderStore
) -> None:
    row = make_model(database, store)
    models.delete(PROJECT, row.id)
    assert store.exists(weights(row))
    again = models.promote(PROJECT, str(row.job_id), 10)
    assert again.digest == row.digest


def test_a_model_whose_checkpoint_was_given_up_takes_its_files_along(
    models: Models, database: Database, store: FolderStore
) -> None:
    row = make_model(database, store)
    with database.transaction() as session:
        checkpoints.delete(session, str(row.job_id), 10)
    models.delete(PROJECT, row.id)
    assert not store.exists(weights(row))
