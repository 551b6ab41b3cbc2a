"""A sweep on real data with real trainers: what it finds, and that a trainer's death changes nothing of it."""

import io
import json
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from app.contract.job import JobStatus
from app.contract.specs.sweep import SWEEP_ENDS, SweepSpec, SweepStatus, TrialState
from app.db import sweeps
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, DatasetRow
from app.dispatch import Dispatcher
from app.services.sweeps.service import Sweeps
from app.services.sweeps.views import SweepView
from app.settings import Settings
from app.storage import FolderStore
from tests.faults.conftest import LEASE_SECONDS
from tests.support.training_jobs import TrainingJobs
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

RATE, WIDTHS = "training.optimizer.learning_rate", "method.architecture.hidden_widths"
REAL = "worker.celery_app"
BAD_RATE = 1e-5


@pytest.fixture
def service(database: Database, store: FolderStore, settings: Settings) -> Sweeps:
    return Sweeps(database, store, Dispatcher(settings), settings)


def digits(training_jobs: TrainingJobs) -> dict[str, Any]:
    """An autoencoder of handwritten digits, by a rate at which it learns next to nothing."""
    data = io.BytesIO()
    np.savez(data, images=load_digits().images[:400].astype(np.uint8) * 15)
    dataset = training_jobs.dataset(data.getvalue(), filename="digits.npz", kind="images", num_examples=400)
    with training_jobs.database.transaction() as session:
        session.get_one(DatasetRow, dataset).profile = {"shape": [1, 8, 8]}
    return {
        "kind": "pretrain",
        "dataset": dataset,
        "method": {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [32]}, "code_size": 8},
        "training": {"duration": {"steps": 60}, "optimizer": {"type": "adam", "learning_rate": BAD_RATE}},
    }


def sweep_of(job: dict[str, Any], **fields: Any) -> SweepSpec:
    search = {
        RATE: {"type": "log_uniform", "low": BAD_RATE, "high": 0.1},
        WIDTHS: {"type": "categorical", "choices": [[16], [32]]},
    }
    return SweepSpec.model_validate_json(json.dumps({"job": job, "search": search} | fields))


def ended(service: Sweeps, sweep_id: str) -> SweepView:
    def view() -> SweepView | None:
        found = service.get(DEFAULT_PROJECT_ID, sweep_id)
        return found if found.status in SWEEP_ENDS else None

    return wait_until(view, 250, "the sweep should end")


def told(view: SweepView) -> list[Any]:
    return [(trial.number, trial.state, trial.parameters, trial.mean, trial.rung_scores) for trial in view.trials]


@pytest.mark.timeout(600)
@pytest.mark.databases("sqlite")
def test_killed_trainers_change_no_trial_of_a_sweep_and_no_score(
    training_jobs: TrainingJobs, workers: Workers, service: Sweeps
) -> None:
    job = digits(training_jobs)
    spec = sweep_of(job, trials=4, max_parallel=1, pruner={"reduction_factor": 2, "min_fraction": 0.5}, finalize=True)
    trainer = workers.start(REAL, threads=1, lease_seconds=LEASE_SECONDS)
    alone = training_jobs.submit_spec(job)
    training_jobs.wait_for(alone, JobStatus.SUCCEEDED)
    whole = ended(service, service.create(DEFAULT_PROJECT_ID, spec).id)

    disturbed = service.create(DEFAULT_PROJECT_ID, spec)
    for number_begun in (2, 3):

        def begun(number_begun: int = number_begun) -> bool:
            return len(service.get(DEFAULT_PROJECT_ID, disturbed.id).trials) >= number_begun

        wait_until(begun, 250, "the sweep should go on")
        trainer.kill()
        trainer = workers.start(REAL, threads=1, lease_seconds=LEASE_SECONDS)
    view = ended(service, disturbed.id)

    assert whole.status is SweepStatus.SUCCEEDED, whole.reason
    assert told(view) == told(whole)
    assert {trial.state for trial in view.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    with service.database.reading() as session:
        rows = [row for row in sweeps.jobs_of(session, view.id) if row.trial is not None]
    assert [(row.trial, row.fold) for row in rows] == [(number, 0) for number in range(4)]
    models = [training_jobs.model_by_id(str(each.model_id)) for each in (whole, view)]
    assert models[0].digest == models[1].digest, "the weights are the same, byte for byte"
    assert view.best is not None
    assert view.best.mean < 0.7 * training_jobs.model(alone).metrics["validation_loss"]


@pytest.mark.timeout(600)
@pytest.mark.databases("postgresql")
def test_two_trainers_share_a_sweep_of_folds(training_jobs: TrainingJobs, workers: Workers, service: Sweeps) -> None:
    for _ in range(2):
        workers.start(REAL, threads=1)
    sweep = service.create(DEFAULT_PROJECT_ID, sweep_of(digits(training_jobs), trials=4, folds=3, max_parallel=2))

    view = ended(service, sweep.id)

    assert view.status is SweepStatus.SUCCEEDED, view.reason
    assert view.trials_by_state == {"complete": 4}
    for trial in view.trials:
        scores = [fold.score for fold in trial.folds if fold.score is not None]
        assert len(scores) == 3
        assert trial.mean == pytest.approx(sum(scores) / 3)
    sizes = [
        (training_jobs.get(fold.job_id).resolved or {})["num_validation_examples"] for fold in view.trials[0].folds
    ]
    assert sum(sizes) == 400
