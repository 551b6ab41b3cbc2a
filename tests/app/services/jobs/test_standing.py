"""A job that no live trainer takes says so, as long as that is so."""

import pytest
from pydantic import ValidationError

from app.contract.specs.job import job_spec_adapter
from app.db import workers
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.jobs.service import Jobs
from app.services.jobs.views import JobView
from app.settings import Settings
from tests.app.test_housekeeping import RecordingDispatcher
from tests.factories import language_model_spec, make_dataset


@pytest.fixture
def jobs(database: Database, settings: Settings) -> Jobs:
    return Jobs(database, RecordingDispatcher(), settings)


def ask(jobs: Jobs, **resources: object) -> JobView:
    spec = language_model_spec(make_dataset(jobs.database).id, resources=resources)
    return jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(spec))


def trainer(database: Database, *labels: str, queues: tuple[str, ...] = ("cpu",)) -> None:
    with database.transaction() as session:
        workers.heartbeat(
            session,
            id=f"wrk_{len(labels)}{len(queues)}",
            role="trainer",
            queues=queues,
            devices=["cpu"],
            labels=labels,
            address=None,
            loaded=[],
            at=now(session),
        )


def test_a_job_that_no_live_trainer_takes_says_what_it_lacks(jobs: Jobs, database: Database) -> None:
    view = ask(jobs, labels=["zone=eu", "fast"], device="cuda")
    assert "No trainer is alive" in (view.waiting_reason or "")
    trainer(database, "fast", "big", queues=("gpu", "cpu"))
    trainer(database, "fast", "big", "zone=eu")
    told = jobs.get(DEFAULT_PROJECT_ID, view.id).waiting_reason
    assert told is not None
    assert "a GPU and the labels fast, zone=eu" in told, "two trainers have it all together, none by itself"
    trainer(database, "fast", "zone=eu", queues=("gpu", "cpu"))
    assert jobs.get(DEFAULT_PROJECT_ID, view.id).waiting_reason is None


def test_a_job_that_asks_for_nothing_waits_for_any_trainer(jobs: Jobs, database: Database) -> None:
    view = ask(jobs)
    trainer(database, "fast")
    assert jobs.get(DEFAULT_PROJECT_ID, view.id).waiting_reason is None


@pytest.mark.parametrize("label", ["", "a b", "a,b", "=eu", "zone=", "a\n", "x" * 64, "größe"])
def test_what_no_label_can_be_is_refused(label: str) -> None:
    spec = language_model_spec("ds_" + "0" * 32, resources={"labels": [label]})
    with pytest.raises(ValidationError, match="labels"):
        job_spec_adapter.validate_python(spec)


def test_a_trainers_labels_are_parted_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETUNE_LABELS", "fast, zone=eu,")
    assert Settings().labels == ("fast", "zone=eu")
    monkeypatch.setenv("PRETUNE_LABELS", "a b")
    with pytest.raises(ValidationError, match="labels"):
        Settings()
