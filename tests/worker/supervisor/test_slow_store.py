"""A store that is slow, or stands still, holds up neither training nor what is told of it; no promise is given up."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest, Environment, FileEntry
from app.contract.job import JobStatus
from app.db.attempts import Claim
from app.db.session import Database
from app.db.tables import JobRow
from app.settings import Settings
from app.storage import FolderStore, open_store
from tests.support.objects import Way
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs, traced_pids
from tests.support.waiting import wait_until
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.beside import Beside
from worker.supervisor.publish import Publisher

ENVIRONMENT = Environment(torch="2.13.0", cpu_capability="AVX2", num_threads=1, device="cpu")
pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def in_bucket(trainer_settings: Settings, bucket: str) -> Settings:
    return trainer_settings.model_copy(update={"store": f"s3://{bucket}/prefix"})


@pytest.fixture
def stored_jobs(database: Database, in_bucket: Settings, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, open_store(in_bucket), tmp_path)


def test_training_goes_on_while_a_checkpoint_is_on_its_way(
    way: Way, in_bucket: Settings, stored_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    """It is one checkpoint ahead of what is durable, and what it tells meanwhile is heard; not two."""
    job_id = stored_jobs.submit(steps=90, checkpoint_every=30, step_seconds=0.02)
    start_trainer(store=in_bucket.store)
    stored_jobs.wait_for_step(job_id, 1)
    way.passing.clear()
    stored_jobs.wait_for_step(job_id, 59)
    assert stored_jobs.checkpoints(job_id) == []
    way.passing.set()
    stored_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert [row.step for row in stored_jobs.checkpoints(job_id)] == [30, 60, 90]
    assert stored_jobs.weights(job_id) == weights_after(90)
    told = [event["step"] for event in stored_jobs.events(job_id, "checkpoint")]
    assert told == [30, 60, 90]


def test_a_trainer_that_stops_waits_for_what_is_on_its_way(
    way: Way, in_bucket: Settings, stored_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = stored_jobs.submit(steps=1_000, checkpoint_every=1_000, step_seconds=0.02, trace=trace)
    trainer = start_trainer(store=in_bucket.store)
    stored_jobs.wait_for_step(job_id, 3)
    way.passing.clear()
    stopping = threading.Thread(target=trainer.stop)
    stopping.start()
    (pid,) = traced_pids(trace)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30.0, "the training process has written its last and ended")
    assert stored_jobs.get(job_id).status == JobStatus.RUNNING
    way.passing.set()
    stopping.join()
    (checkpoint,) = stored_jobs.checkpoints(job_id)
    assert (stored_jobs.get(job_id).status, stored_jobs.get(job_id).lost_attempts) == (JobStatus.QUEUED, 0)
    assert checkpoint.step == stored_jobs.get(job_id).progress["step"], "no step is lost"


def test_a_lease_that_is_lost_ends_uploads_and_leaves_nothing_of_them(
    *,
    way: Way,
    in_bucket: Settings,
    stored_jobs: TrainingJobs,
    start_trainer: StartTrainer,
    database: Database,
    tmp_path: Path,
) -> None:
    trace = tmp_path / "trace"
    job_id = stored_jobs.submit(steps=1_000, checkpoint_every=10, step_seconds=0.02, trace=trace)
    trainer = start_trainer(store=in_bucket.store, idle_poll_seconds=60.0)
    filling = threading.Thread(target=trainer.fill)
    filling.start()
    stored_jobs.wait_for_step(job_id, 1)
    way.passing.clear()
    stored_jobs.wait_for_step(job_id, 15)
    with database.transaction() as session:
        row = session.get_one(JobRow, job_id)
        row.lease_owner, row.attempt = "wrk_other", 2
    (pid,) = traced_pids(trace)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 30.0, "the trainer has learnt of it and ended the process")
    way.passing.set()
    filling.join()
    assert stored_jobs.checkpoints(job_id) == []
    assert list(stored_jobs.store.list(f"default/jobs/{job_id}")) == []


class Lost(Exception):
    pass


def test_a_checkpoint_that_is_broken_off_is_not_stored_in_part(tmp_path: Path) -> None:
    """At the second of its files."""
    store, folder, asked = FolderStore(tmp_path / "store"), tmp_path / "checkpoint", iter(range(1))
    folder.mkdir()
    files = []
    for name in ("a", "b"):
        (folder / name).write_text(name)
        files.append(FileEntry(path=name, size_bytes=1, sha256=hashlib.sha256(name.encode()).hexdigest()))
    manifest = CheckpointManifest(
        step=1, files=tuple(files), metrics={}, is_best=False, environment=ENVIRONMENT, model_digest=""
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())

    def refuse_the_second() -> None:
        if next(asked, None) is None:
            raise Lost

    claim = Claim("job", "default", 1, "wrk")
    with pytest.raises(Lost):
        Publisher(store, claim, refuse_the_second).checkpoint(folder, 1)
    assert list(store.list("")) == []
    assert Publisher(store, claim).checkpoint(folder, 1).manifest == manifest


def test_work_beside_runs_in_turn_and_its_failure_stops_what_follows() -> None:
    done: list[str] = []

    def fail() -> None:
        raise Lost

    with Beside("test") as beside:
        beside.hand_over(lambda: done.append("first"))
        beside.hand_over(fail)
        with pytest.raises(Lost):
            beside.hand_over(lambda: done.append("after a failure"))
        beside.check()
    assert done == ["first"]
    with pytest.raises(Lost), Beside("test") as beside:
        beside.hand_over(fail)
    with pytest.raises(ValueError, match="already"), Beside("test") as beside:
        _hand_over_and_raise(beside, fail)


def _hand_over_and_raise(beside: Beside, work: Callable[[], None]) -> None:
    beside.hand_over(work)
    raise ValueError("raised already")
