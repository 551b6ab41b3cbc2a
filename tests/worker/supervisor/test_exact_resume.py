"""A job that was paused, killed and handed over leaves what an undisturbed one leaves: each byte, each point, once.

The contract suite says so of every method and a killed process; here the supervisor is in between.
"""

import os
import signal
from typing import Any

import pytest
from sqlalchemy import select

from app.contract.job import JobStatus
from app.db.tables import MetricRow
from app.settings import Settings
from tests.support.training_jobs import TrainingJobs, training_process
from tests.worker.supervisor.conftest import StartTrainer, language_model

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite")]

STEPS = 1_200


def test_pauses_kills_and_hand_overs_change_no_byte_of_the_model_and_no_point_of_a_series(
    training_jobs: TrainingJobs, start_real_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    trainer = start_real_trainer()
    spec = language_model(training_jobs, steps=STEPS, every=100)
    whole = training_jobs.submit_spec(spec)
    training_jobs.wait_for(whole, JobStatus.SUCCEEDED)

    disturbed = training_jobs.submit_spec(spec)
    training_jobs.wait_for_step(disturbed, 60)
    training_jobs.request_stop(disturbed, "pause")
    training_jobs.wait_for(disturbed, JobStatus.PAUSED)
    training_jobs.resume(disturbed)
    training_jobs.wait_for_step(disturbed, step_of(training_jobs, disturbed) + 60)
    os.kill(training_process(trainer_settings.scratch_dir, disturbed), signal.SIGKILL)
    training_jobs.wait_for_attempt(disturbed, 3)
    training_jobs.wait_for_step(disturbed, step_of(training_jobs, disturbed) + 60)
    trainer.stop()
    start_real_trainer()
    training_jobs.wait_for(disturbed, JobStatus.SUCCEEDED)

    assert training_jobs.outcomes(disturbed) == ["paused", "lost", "preempted", "succeeded"]
    assert series(training_jobs, disturbed) == series(training_jobs, whole)
    assert model_bytes(training_jobs, disturbed) == model_bytes(training_jobs, whole)
    assert training_jobs.events(disturbed, "warning") == []


def test_a_search_that_was_killed_and_paused_ends_as_a_job_that_named_the_rate(
    training_jobs: TrainingJobs, start_real_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    start_real_trainer()
    spec = language_model(training_jobs, steps=STEPS, every=400)
    spec["training"] |= {"optimizer": {"learning_rate": "auto"}}
    searched = training_jobs.submit_spec(spec)
    training_jobs.wait_for_trials(searched, 2)
    os.kill(training_process(trainer_settings.scratch_dir, searched), signal.SIGKILL)
    training_jobs.wait_for_trials(searched, 4)
    training_jobs.request_stop(searched, "pause")
    training_jobs.wait_for(searched, JobStatus.PAUSED)
    assert training_jobs.checkpoints(searched) == [], "it was paused before its first step"
    training_jobs.resume(searched)
    row = training_jobs.wait_for(searched, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(searched) == ["lost", "paused", "succeeded"]

    assert row.trials is not None
    assert row.resolved is not None
    made = [(trial["learning_rate"], trial["steps"]) for trial in row.trials]
    assert len(made) == len(set(made)) == 7 + 3
    spec["training"] |= {"optimizer": {"learning_rate": row.resolved["learning_rate"]}}
    named = training_jobs.submit_spec(spec)
    training_jobs.wait_for(named, JobStatus.SUCCEEDED)
    assert series(training_jobs, searched) == series(training_jobs, named)
    assert model_bytes(training_jobs, searched) == model_bytes(training_jobs, named)


def test_a_hand_over_to_another_number_of_threads_is_told(
    training_jobs: TrainingJobs, start_real_trainer: StartTrainer
) -> None:
    first = start_real_trainer(threads=1)
    job_id = training_jobs.submit_spec(language_model(training_jobs, steps=STEPS, every=1000))
    training_jobs.wait_for_step(job_id, 1)
    first.stop()
    start_real_trainer(threads=2)
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    (warning,) = training_jobs.events(job_id, "warning")
    assert warning["message"].endswith("num_threads 1 then, 2 now.")


def step_of(training_jobs: TrainingJobs, job_id: str) -> int:
    return int(training_jobs.get(job_id).progress["step"])


def series(training_jobs: TrainingJobs, job_id: str) -> dict[tuple[str, int], float]:
    with training_jobs.database.reading() as session:
        rows = session.scalars(select(MetricRow).where(MetricRow.job_id == job_id))
        return {(row.name, row.step): row.value for row in rows}


def model_bytes(training_jobs: TrainingJobs, job_id: str) -> dict[str, bytes]:
    reference: dict[str, Any] = training_jobs.model(job_id).reference
    paths = [entry["path"] for entry in reference["files"]]
    return {path: training_jobs.read_bytes(f"{reference['artifact_prefix']}/{path}") for path in paths}
