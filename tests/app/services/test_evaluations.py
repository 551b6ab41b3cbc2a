"""Evaluations as their user has them: asked for, looked at, compared, taken away with what they belong to."""

import io
import zipfile

import pytest

from app.contract.errors import ErrorCode, InvalidRequest, NotFound
from app.contract.job import JobStatus
from app.db import evaluations, references, usage
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, DatasetRow, EvaluationRow, ModelRow
from app.evaluation.units import read_units
from app.services.evaluations import Evaluations
from app.services.jobs.deletion import JobDeletion
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import (
    make_dataset,
    make_evaluation,
    make_job,
    make_model,
    make_project,
)

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def found(database: Database, store: FolderStore) -> Evaluations:
    return Evaluations(database, store)


@pytest.fixture
def judge(database: Database, store: FolderStore) -> ModelRow:
    return make_model(database, store, labels=("bad", "good"))


@pytest.fixture
def reviews(database: Database) -> DatasetRow:
    return make_dataset(database, "labeled_text", name="reviews")


@pytest.fixture
def evaluation(database: Database, store: FolderStore, judge: ModelRow, reviews: DatasetRow) -> EvaluationRow:
    return make_evaluation(database, store, judge, reviews)


def test_a_models_evaluations_come_in_pages_and_one_with_all_that_it_found(
    found: Evaluations, database: Database, store: FolderStore, judge: ModelRow, reviews: DatasetRow
) -> None:
    rows = [make_evaluation(database, store, judge, reviews) for _ in range(3)]
    make_evaluation(database, store, make_model(database, store), reviews)
    first = found.page(DEFAULT_PROJECT_ID, judge.id, None, 2)
    rest = found.page(DEFAULT_PROJECT_ID, judge.id, first.next_cursor, 2)
    assert [each.id for each in (*first.data, *rest.data)] == [row.id for row in reversed(rows)]
    assert rest.next_cursor is None
    view = found.get(DEFAULT_PROJECT_ID, rows[0].id)
    assert view.measures["accuracy"].value == 0.75
    assert view.id == view.job_id.replace("job_", "eval_")
    assert view.report.confusion is not None
    assert view.report.confusion.counts == ((1, 1), (0, 2))
    units = b"".join(found.units(DEFAULT_PROJECT_ID, rows[0].id).chunks)
    assert read_units(io.BytesIO(units))["told"].tolist() == [0, 1, 1, 1]


def test_two_on_the_same_bytes_are_compared(
    found: Evaluations, database: Database, store: FolderStore, judge: ModelRow, reviews: DatasetRow
) -> None:
    mine = make_evaluation(database, store, judge, reviews, right=[True] * 40)
    other = make_model(database, store)
    theirs = make_evaluation(database, store, other, reviews, right=[True] * 20 + [False] * 20)
    view = found.compare(DEFAULT_PROJECT_ID, mine.id, theirs.id)
    accuracy = view.measures["accuracy"]
    assert (accuracy.first, accuracy.second, accuracy.better) == (1.0, 0.5, "first")
    assert accuracy.p_value == pytest.approx(2 / 2**20)
    assert (view.first.id, view.second.id) == (mine.id, theirs.id)
    assert f"{judge.id} is better" in view.finding


def test_two_on_other_bytes_are_not(
    found: Evaluations, database: Database, store: FolderStore, evaluation: EvaluationRow, judge: ModelRow
) -> None:
    other = make_dataset(database, "labeled_text", name="letters")
    with pytest.raises(InvalidRequest, match=r"reviews.*letters") as caught:
        found.compare(DEFAULT_PROJECT_ID, evaluation.id, make_evaluation(database, store, judge, other).id)
    assert caught.value.code is ErrorCode.VALIDATION_FAILED


def test_it_outlives_its_job_with_its_units(
    found: Evaluations, database: Database, store: FolderStore, evaluation: EvaluationRow
) -> None:
    deletion = JobDeletion(database, store)
    with database.reading() as session:
        before = usage.stored_bytes(session, DEFAULT_PROJECT_ID)
    preview = deletion.preview(DEFAULT_PROJECT_ID, evaluation.job_id)
    assert (preview.freed_bytes, preview.stays) == (0, [f"The evaluation {evaluation.id} stays with its model."])
    deletion.delete(DEFAULT_PROJECT_ID, evaluation.job_id)
    assert store.exists(evaluation.units_key)
    assert found.compare(DEFAULT_PROJECT_ID, evaluation.id, evaluation.id).measures["accuracy"].p_value == 1.0
    with database.reading() as session:
        assert usage.stored_bytes(session, DEFAULT_PROJECT_ID) == before
        assert evaluation.units_key in {file.key for file in references.all_files(session)}
        kept = references.files_of_job(session, DEFAULT_PROJECT_ID, evaluation.job_id)
        assert kept.keys == {evaluation.units_key}

    found.delete(DEFAULT_PROJECT_ID, evaluation.id)
    assert not store.exists(evaluation.units_key)


def test_deleted_by_itself_it_leaves_its_jobs_files(
    found: Evaluations, store: FolderStore, evaluation: EvaluationRow
) -> None:
    found.delete(DEFAULT_PROJECT_ID, evaluation.id)
    assert store.exists(evaluation.units_key)
    with pytest.raises(NotFound, match=evaluation.id):
        found.get(DEFAULT_PROJECT_ID, evaluation.id)


def test_it_goes_with_its_model(
    database: Database, store: FolderStore, judge: ModelRow, evaluation: EvaluationRow
) -> None:
    models = Models(database, store, Settings())
    JobDeletion(database, store).delete(DEFAULT_PROJECT_ID, evaluation.job_id)
    assert models.deletion(DEFAULT_PROJECT_ID, judge.id).freed_bytes == evaluation.units_size_bytes
    models.delete(DEFAULT_PROJECT_ID, judge.id)
    with database.reading() as session:
        assert evaluations.get(session, DEFAULT_PROJECT_ID, evaluation.id) is None
    assert not store.exists(evaluation.units_key)


def test_the_model_card_tells_it(
    database: Database, store: FolderStore, judge: ModelRow, evaluation: EvaluationRow, reviews: DatasetRow
) -> None:
    archive = Models(database, store, Settings()).archive(DEFAULT_PROJECT_ID, judge.id)
    with zipfile.ZipFile(io.BytesIO(b"".join(archive.chunks))) as files:
        card = files.read("README.md").decode()
    assert "## Evaluations" in card
    accuracy = next(line for line in card.splitlines() if "| accuracy |" in line)
    assert all(each in accuracy for each in (reviews.id, reviews.sha256, "4 examples", "0.75"))


def test_of_another_project_there_is_none(
    found: Evaluations, database: Database, store: FolderStore, evaluation: EvaluationRow
) -> None:
    other = make_project(database, "other")
    theirs = make_model(database, store, job=make_job(database, status=JobStatus.SUCCEEDED, project_id=other))
    for call in (
        lambda: found.get(other, evaluation.id),
        lambda: found.compare(other, evaluation.id, evaluation.id),
        lambda: found.delete(other, evaluation.id),
        lambda: found.page(DEFAULT_PROJECT_ID, theirs.id, None, 10),
    ):
        with pytest.raises(NotFound):
            call()
