"""Checkpoints on failing disks and under killed writers: the last good one is kept, and nothing torn is ever used."""

import hashlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest
from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.dispatch import Dispatcher
from app.services.jobs import Jobs
from app.settings import MIB, Settings
from tests.faults.conftest import LEASE_SECONDS, Damage, StartTrainer
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

KILLS = 30


def test_a_writer_killed_at_any_moment_leaves_whole_checkpoints_and_unfinished_ones_under_another_name(
    tmp_path: Path,
) -> None:
    """19. The real writer of checkpoints, killed again and again."""
    command = [sys.executable, "-m", "tests.support.checkpoint_writer", str(tmp_path), str(KILLS), "1"]
    torn = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert torn > KILLS // 4, "too few kills have struck in the middle of a write"
    whole = list(tmp_path.glob("step-*[0-9]"))
    assert len(whole) >= KILLS
    for folder in whole:
        manifest = CheckpointManifest.model_validate_json((folder / MANIFEST_NAME).read_text())
        for entry in manifest.files:
            assert hashlib.sha256((folder / entry.path).read_bytes()).hexdigest() == entry.sha256, (folder, entry.path)


@pytest.mark.databases("postgresql")
def test_a_worker_killed_while_it_stores_a_checkpoint_leaves_the_one_before(
    training_jobs: TrainingJobs, workers: Workers, settings: Settings
) -> None:
    """19. What it had stored of the new one is seen by nobody."""
    job_id = training_jobs.submit(steps=6, checkpoint_every=2, padded_at=4, padding_bytes=128 * MIB)
    first = workers.start(lease_seconds=LEASE_SECONDS)
    stored = settings.artifacts_dir / f"{DEFAULT_PROJECT_ID}/jobs/{job_id}/attempt-1/step-000000004"
    wait_until(stored.exists, 60, "the store is being written")
    first.kill()
    first.wait()
    assert not (stored / MANIFEST_NAME).exists(), "it was killed too late to prove anything"
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [2]
    workers.start()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(6)
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 3, 4, 5, 6]


@pytest.mark.databases("sqlite")
def test_a_flipped_bit_and_a_missing_end_are_passed_over_and_told(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, damage: Damage
) -> None:
    """19."""
    job_id = training_jobs.submit(steps=10, checkpoint_every=2, hang_at=9, faulty_attempts=1)
    first = start_trainer(stop_grace_seconds=0.1)
    training_jobs.wait_for_step(job_id, 9)
    training_jobs.wait_for_checkpoint(job_id, 8)
    good, truncated, flipped = training_jobs.checkpoints(job_id)
    damage.flip_one_bit(f"{flipped.artifact_prefix}/model/model.safetensors")
    damage.truncate(f"{truncated.artifact_prefix}/trainer/state.json")
    first.stop()
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.weights(job_id) == weights_after(10)
    assert training_jobs.outcomes(job_id) == ["preempted", "succeeded"]
    told = [event["message"] for event in training_jobs.events(job_id, "warning")]
    assert [f"The checkpoint of step {step} is damaged" in message for step, message in zip((8, 6), told, strict=True)]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [*range(1, 10), *range(good.step + 1, 11)]


@pytest.mark.databases("postgresql")
def test_a_disk_that_takes_no_more_fails_one_job_keeps_its_last_checkpoint_and_spares_the_others(
    training_jobs: TrainingJobs, workers: Workers, settings: Settings, database: Database
) -> None:
    """20. The kernel refuses the writes of the trainer beyond a size, as a full disk would; when there is room again, a
    retry goes on where the job was."""
    worker = workers.start(slots=2)
    workers.wait_until_live()  # its training processes have started, and write as they like
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (MIB, resource.RLIM_INFINITY))
    large = training_jobs.submit(steps=6, checkpoint_every=2, padded_at=4, padding_bytes=2 * MIB)
    other = training_jobs.submit(steps=6, checkpoint_every=2, step_seconds=0.1)
    row = training_jobs.wait_for(large, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("disk_full", "infrastructure")
    assert [row.step for row in training_jobs.checkpoints(large)] == [2]
    training_jobs.wait_for(other, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(other) == ["succeeded"]

    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    dispatcher = Dispatcher(settings)
    Jobs(database, dispatcher, settings).retry(DEFAULT_PROJECT_ID, large)
    dispatcher.close()
    training_jobs.wait_for(large, JobStatus.SUCCEEDED)
    assert training_jobs.weights(large) == weights_after(6)
