"""Jobs run by a trainer from the queue to their end, when nothing goes wrong."""

from pathlib import Path

import pytest
from sqlalchemy import select
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import MetricRow
from app.settings import Settings
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced, traced_pids
from tests.support.waiting import wait_until
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.overfitting import OverfittingReport
from worker.supervisor.overfitting_report import READABLE_NAME, REPORT_NAME


def test_a_queued_job_becomes_a_model(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database, trainer_settings: Settings
) -> None:
    job_id = training_jobs.submit(steps=6, checkpoint_every=2)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(6)
    assert training_jobs.statuses(job_id) == ["running", "succeeded"]
    assert training_jobs.outcomes(job_id) == ["succeeded"]
    assert (row.attempt, row.lost_attempts, row.lease_owner, row.lease_expires_at) == (1, 0, None, None)
    assert row.resolved is not None
    assert (row.resolved["total_steps"], row.device) == (6, "cpu")
    assert row.progress == {
        "phase": "training",
        "step": 6,
        "total_steps": 6,
        "fraction": 1.0,
        "tokens_per_second": None,
        "examples_per_second": 10.0,
        "steps_per_second": 10.0 / row.spec["training"]["batch_size"],
        "eta_seconds": 0,
    }
    assert row.metrics == {"train_loss": 1 / 6}
    assert [event["step"] for event in training_jobs.events(job_id, "checkpoint")] == [2, 4, 6]
    assert [event["step"] for event in training_jobs.events(job_id, "metrics")] == [1, 2, 3, 4, 5, 6]
    artifacts = training_jobs.artifacts(job_id)
    assert artifacts.keys() == {
        "sample.txt",
        "training.log",
        REPORT_NAME,
        READABLE_NAME,
        f"events.out.tfevents.{job_id}",
    }
    assert (artifacts["sample.txt"], artifacts["training.log"]) == (b"a sample", b"the end of the log\n")
    with database.reading() as session:
        points = session.scalars(select(MetricRow).where(MetricRow.job_id == job_id).order_by(MetricRow.step)).all()
    assert [(point.step, point.value) for point in points] == [(step, 1 / step) for step in range(1, 7)]
    model = training_jobs.model(job_id)
    assert (model.checkpoint_step, model.metrics) == (6, {"validation_loss": 1 / 6})
    wait_until(lambda: not list(trainer_settings.scratch_dir.rglob(f"{job_id}*")), 30.0, "its folder should go")


def test_retention_keeps_the_newest_and_their_files_only(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    job_id = training_jobs.submit(steps=6, checkpoint_every=1, keep_checkpoints=2)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [5, 6]
    stored = trainer_settings.artifacts_dir / f"default/jobs/{job_id}/attempt-1"
    assert sorted(path.name for path in stored.glob("step-*")) == ["step-000000005", "step-000000006"]


def test_two_slots_run_two_jobs_at_a_time(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    ids = [training_jobs.submit(steps=500, step_seconds=0.02, trace=trace) for _ in range(3)]
    start_trainer(slots=2)
    for job_id in ids[:2]:
        training_jobs.wait_for_step(job_id, 1)
    assert training_jobs.get(ids[2]).status == JobStatus.QUEUED
    assert traced(trace) == {("start", ids[0], 1): 1, ("start", ids[1], 1): 1}


@pytest.mark.databases("sqlite")
def test_each_of_two_jobs_at_a_time_sees_a_gpu_of_its_own(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process would find on a GPU is not tried here: which one it is told to use is."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    trace = tmp_path / "trace"
    ids = [training_jobs.submit(steps=500, step_seconds=0.02, trace=trace) for _ in range(2)]
    start_trainer(device="cuda", slots=None)
    for job_id in ids:
        training_jobs.wait_for_step(job_id, 1)
    environments = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in traced_pids(trace)]
    told = {line for environment in environments for line in environment if line.startswith(b"CUDA_VISIBLE_DEVICES")}
    assert told == {b"CUDA_VISIBLE_DEVICES=GPU-a", b"CUDA_VISIBLE_DEVICES=GPU-b"}
    for job_id in ids:
        training_jobs.request_stop(job_id, "cancel")
        training_jobs.wait_for(job_id, JobStatus.CANCELLED)


def test_a_trainer_leaves_jobs_to_those_that_have_their_labels(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    start_trainer(labels=("zone=eu",))
    elsewhere = training_jobs.submit(steps=2, labels=("zone=us",))
    here = training_jobs.submit(steps=2, labels=("zone=eu",))
    training_jobs.wait_for(here, JobStatus.SUCCEEDED)
    assert training_jobs.get(elsewhere).status == JobStatus.QUEUED
    start_trainer(labels=("fast", "zone=us"))
    training_jobs.wait_for(elsewhere, JobStatus.SUCCEEDED)


def test_a_pause_keeps_a_checkpoint_and_a_resumed_job_goes_on_from_it(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    job_id = training_jobs.submit(steps=150, checkpoint_every=150, step_seconds=0.02)
    start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    training_jobs.request_stop(job_id, "pause")
    training_jobs.wait_for(job_id, JobStatus.PAUSED)
    paused_at = training_jobs.checkpoints(job_id)[-1].step
    assert 3 <= paused_at < 150
    training_jobs.resume(job_id)
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(150)
    assert training_jobs.outcomes(job_id) == ["paused", "succeeded"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == list(range(1, 151))
    assert steps_reported(training_jobs, job_id) == steps


def test_a_cancelled_job_has_a_report_on_overfitting_too(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(steps=500, checkpoint_every=500, step_seconds=0.02)
    start_trainer()
    training_jobs.wait_for_step(job_id, 3)
    training_jobs.request_stop(job_id, "cancel")
    training_jobs.wait_for(job_id, JobStatus.CANCELLED)
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps_reported(training_jobs, job_id) == steps
    assert training_jobs.artifacts(job_id)[READABLE_NAME].startswith(b"# Overfitting: not judged")


def test_tensorboard_reads_the_curves_of_a_job(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path
) -> None:
    job_id = training_jobs.submit(steps=300, checkpoint_every=300)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    name = f"events.out.tfevents.{job_id}"
    (tmp_path / name).write_bytes(training_jobs.artifacts(job_id)[name])
    read = EventAccumulator(str(tmp_path)).Reload()
    told = [(scalar.step, scalar.value) for scalar in read.Scalars("train_loss")]
    reported = [
        (event["step"], pytest.approx(event["values"]["train_loss"]))
        for event in training_jobs.events(job_id, "metrics")
    ]
    assert told == reported


def steps_reported(training_jobs: TrainingJobs, job_id: str) -> list[int]:
    """Of the one report that a job has, however many attempts it took."""
    report = OverfittingReport.model_validate_json(training_jobs.artifacts(job_id)[REPORT_NAME], strict=False)
    assert report.job_id == job_id
    return [step for step, _ in report.curves["train_loss"]]
