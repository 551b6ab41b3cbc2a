"""Which checkpoints are kept, and which parent a fine-tune gets."""

import pytest

from app.contract.job import JobStatus
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import MlpArchitecture
from app.db import checkpoints, models
from app.db.session import Database, now
from app.db.tables import CheckpointRow, JobRow
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.record import surplus

BODY = BodyDescription(architecture=MlpArchitecture(), input=InputKind.FEATURES, granularity=Granularity.EXAMPLE)
DESCRIPTION = ModelDescription(kind="pretrain", method="autoencoder", body=BODY, num_parameters=1)


def rows(steps: list[int], best: list[int]) -> list[CheckpointRow]:
    return [CheckpointRow(job_id="job", step=step, manifest={"is_best": step in best}) for step in steps]


@pytest.mark.parametrize(
    ("steps", "best", "keep", "referenced", "given_up"),
    [
        ([1, 2, 3], [1], 3, set(), []),
        ([1, 2, 3, 4], [1, 2], 1, set(), [1, 3]),
        ([4, 3, 2, 1], [], 2, set(), [1, 2]),
        ([1, 2, 3, 4], [4], 1, {2}, [1, 3]),
        ([], [], 1, set(), []),
    ],
)
def test_the_newest_the_best_and_the_referenced_are_kept(
    steps: list[int], best: list[int], keep: int, referenced: set[int], given_up: list[int]
) -> None:
    retired = surplus(rows(steps, best), keep_checkpoints=keep, referenced_steps=referenced)
    assert [row.step for row in retired] == given_up


@pytest.mark.parametrize(("checkpoint", "step"), [(None, 6), ("best", 6), ("last", 6), ("step:4", 4), ("step:004", 4)])
def test_a_fine_tune_starts_from_the_model_it_names(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, checkpoint: str | None, step: int
) -> None:
    """Posted before its parent has run: it waits, then starts at once, from the checkpoint that it names."""
    parent = training_jobs.submit(steps=6, checkpoint_every=2)
    child = training_jobs.submit(
        parent=parent, parent_job_id=parent, checkpoint=checkpoint, status=JobStatus.WAITING, tell_parent=True
    )
    start_trainer(housekeeping_seconds=60.0)
    row = training_jobs.wait_for(child, JobStatus.SUCCEEDED)
    pinned = training_jobs.model_by_id(str(row.parent_model_id))
    assert (pinned.job_id, pinned.checkpoint_step) == (parent, step)
    assert training_jobs.model(child).parent_model_id == pinned.id
    (told,) = [event["message"] for event in training_jobs.events(child, "log") if "parent" in event["message"]]
    assert told == f"parent {weights_after(step)}"
    assert training_jobs.num_models() == (2 if step == 6 else 3)


def test_a_named_step_that_does_not_exist_fails_the_fine_tune(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    parent = training_jobs.submit(steps=2)
    child = training_jobs.submit(parent=parent, parent_job_id=parent, checkpoint="step:99", status=JobStatus.WAITING)
    start_trainer()
    row = training_jobs.wait_for(child, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("not_found", "user")
    assert "step:99" in row.error["message"]


def test_a_step_that_a_fine_tune_waits_for_outlives_retention(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    parent = training_jobs.submit(steps=6, checkpoint_every=1, keep_checkpoints=1)
    child = training_jobs.submit(parent=parent, parent_job_id=parent, checkpoint="step:2", status=JobStatus.WAITING)
    start_trainer()
    training_jobs.wait_for(child, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(parent)] == [2, 6]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("ended_as", [JobStatus.CANCELLED, JobStatus.FAILED])
def test_a_step_that_a_fine_tune_may_be_retried_from_outlives_retention_too(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, ended_as: JobStatus
) -> None:
    parent = training_jobs.submit(steps=6, checkpoint_every=1, keep_checkpoints=1)
    training_jobs.submit(parent=parent, parent_job_id=parent, checkpoint="step:2", status=ended_as)
    start_trainer()
    training_jobs.wait_for(parent, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(parent)] == [2, 6]


@pytest.mark.databases("sqlite")
def test_a_promoted_checkpoint_and_its_files_outlive_retention(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    """Promoted while the job was paused; the rest of its run gives up all others but the newest."""
    parent = training_jobs.submit(steps=8, checkpoint_every=1, keep_checkpoints=1, hang_at=3, faulty_attempts=1)
    start_trainer(stop_grace_seconds=0.1)
    training_jobs.wait_for_checkpoint(parent, 3)
    training_jobs.request_stop(parent, "pause")
    training_jobs.wait_for(parent, JobStatus.PAUSED)
    with database.transaction() as session:
        checkpoint = checkpoints.get(session, parent, 3)
        assert checkpoint is not None
        promoted = models.register_checkpoint(
            session, session.get_one(JobRow, parent), checkpoint, DESCRIPTION, now(session)
        )
    training_jobs.resume(parent)
    training_jobs.wait_for(parent, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(parent)] == [3, 8]
    assert training_jobs.read(f"{promoted.reference['artifact_prefix']}/model.safetensors") == weights_after(3)


@pytest.mark.databases("sqlite")
def test_the_best_checkpoint_outlives_retention_and_is_the_model(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(steps=8, checkpoint_every=1, keep_checkpoints=2, best_at=3)
    start_trainer()
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [3, 7, 8]
    assert training_jobs.model(job_id).checkpoint_step == 3
    assert training_jobs.weights(job_id) == weights_after(3)


def test_a_damaged_parent_is_never_trained_on(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database
) -> None:
    parent = training_jobs.submit(steps=2)
    start_trainer()
    training_jobs.wait_for(parent, JobStatus.SUCCEEDED)
    model = training_jobs.model(parent)
    training_jobs.overwrite(f"{model.reference['artifact_prefix']}/model.safetensors", b"0" * 64)
    child = training_jobs.submit(parent=model.id)
    row = training_jobs.wait_for(child, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("model_corrupted", "infrastructure")
