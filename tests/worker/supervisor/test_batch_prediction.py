"""Batch predictions through a trainer: paused, killed, cancelled, handed over, and what is left of them."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.contract.errors import Conflict
from app.contract.job import JobStatus
from app.contract.layout import job_prefix
from app.contract.specs.job import job_spec_adapter
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.jobs import Jobs
from app.services.models import Models
from app.settings import Settings
from tests.app.services.jobs.conftest import RecordedWakes
from tests.support.training_jobs import TrainingJobs, training_process
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.supervisor.conftest import StartTrainer

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite"), pytest.mark.timeout(400)]

NUM_RECORDS = 640
PARTS = [f"predictions/part-{first:012d}.jsonl" for first in range(0, NUM_RECORDS, 128)]
FIRST_PART = PARTS[0]


@dataclass
class Predictions:
    """Texts that a language model continues: five parts, each a second's work."""

    training_jobs: TrainingJobs
    jobs: Jobs
    model_id: str
    dataset_id: str

    def submit(self, **parameters: Any) -> str:
        spec = {
            "kind": "batch_predict",
            "model": self.model_id,
            "dataset": self.dataset_id,
            "operation": "generate",
            "parameters": {"max_tokens": 16, **parameters},
        }
        return self.jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(spec)).id

    def wait_for_part(self, job_id: str, name: str) -> dict[str, str]:
        wait_until(lambda: name in self.training_jobs.artifact_keys(job_id), 60.0, f"{job_id} should keep {name}")
        return self.training_jobs.artifact_keys(job_id)

    def result(self, job_id: str) -> bytes:
        return self.training_jobs.read_bytes(self.training_jobs.artifact_keys(job_id)["predictions.jsonl"])


@pytest.fixture
def predictions(
    database: Database, training_jobs: TrainingJobs, trainer_settings: Settings, tmp_path: Path
) -> Predictions:
    lines = [json.dumps({"text": text}) for text in ["the quick", "a lazy dog counts", "Zoë"] * NUM_RECORDS]
    data = "\n".join(lines[:NUM_RECORDS]).encode()
    dataset_id = training_jobs.dataset(data, filename="texts.jsonl", kind="text", num_examples=NUM_RECORDS)
    model_id = training_jobs.import_model(models.language_model(tmp_path / "model"))
    return Predictions(training_jobs, Jobs(database, RecordedWakes(), trainer_settings), model_id, dataset_id)


def test_the_answers_are_one_artifact_and_their_parts_are_gone(
    predictions: Predictions, start_real_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    start_real_trainer()
    job_id = predictions.submit(max_tokens=1)
    row = predictions.training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)

    assert (row.progress["step"], row.progress["total_steps"], row.progress["fraction"]) == (640, 640, 1.0)
    assert row.metrics == {"records": 640.0, "errors": 0.0}
    assert row.model_id is None
    keys = predictions.training_jobs.artifact_keys(job_id)
    assert set(keys) == {"predictions.jsonl", "training.log"}
    answers = [json.loads(line) for line in predictions.result(job_id).splitlines()]
    assert [answer["index"] for answer in answers] == [*range(NUM_RECORDS)]
    prefix = job_prefix(DEFAULT_PROJECT_ID, job_id)
    wait_until(
        lambda: {file.key for file in predictions.training_jobs.store.list(prefix)} == set(keys.values()),
        60.0,
        "the files of the parts should go after their rows",
    )
    assert "640 records" in predictions.training_jobs.events(job_id, "log")[-1]["message"]


def test_pauses_kills_and_hand_overs_change_no_byte_and_ask_no_record_of_a_kept_part_again(
    predictions: Predictions, start_real_trainer: StartTrainer, trainer_settings: Settings
) -> None:
    training_jobs = predictions.training_jobs
    trainer = start_real_trainer()
    whole = predictions.submit()
    training_jobs.wait_for(whole, JobStatus.SUCCEEDED)

    disturbed = predictions.submit()
    predictions.wait_for_part(disturbed, PARTS[0])
    training_jobs.request_stop(disturbed, "pause")
    training_jobs.wait_for(disturbed, JobStatus.PAUSED)
    paused = predictions.training_jobs.artifact_keys(disturbed)
    training_jobs.resume(disturbed)
    killed = predictions.wait_for_part(disturbed, PARTS[2])
    os.kill(training_process(trainer_settings.scratch_dir, disturbed), signal.SIGKILL)
    training_jobs.wait_for_attempt(disturbed, 3)
    handed_over = predictions.wait_for_part(disturbed, PARTS[3])
    trainer.stop()
    given_back = predictions.training_jobs.artifact_keys(disturbed)
    start_real_trainer()
    training_jobs.wait_for(disturbed, JobStatus.SUCCEEDED)

    assert training_jobs.outcomes(disturbed) == ["paused", "lost", "preempted", "succeeded"]
    assert predictions.result(disturbed) == predictions.result(whole)
    for before, after in ((paused, killed), (killed, handed_over), (handed_over, given_back)):
        assert parts_of(before).items() <= parts_of(after).items()
    assert training_jobs.events(disturbed, "warning") == []


def test_a_cancelled_one_keeps_its_parts_and_a_retry_goes_on_from_them(
    predictions: Predictions, start_real_trainer: StartTrainer, database: Database
) -> None:
    """The model can be deleted by then, and the retry says so at once."""
    training_jobs = predictions.training_jobs
    start_real_trainer()
    job_id = predictions.submit()
    predictions.wait_for_part(job_id, FIRST_PART)
    with pytest.raises(Conflict, match=job_id):
        Models(database, training_jobs.store, Settings()).delete(DEFAULT_PROJECT_ID, predictions.model_id)
    predictions.jobs.cancel(DEFAULT_PROJECT_ID, job_id)
    training_jobs.wait_for(job_id, JobStatus.CANCELLED)
    kept = parts_of(predictions.training_jobs.artifact_keys(job_id))
    assert kept

    training_jobs.overwrite(kept[FIRST_PART], training_jobs.read_bytes(kept[FIRST_PART])[:-2] + b"!\n")
    predictions.jobs.retry(DEFAULT_PROJECT_ID, job_id)
    training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)

    [warning] = training_jobs.events(job_id, "warning")
    assert f"{FIRST_PART} is damaged" in warning["message"]
    assert [json.loads(line)["index"] for line in predictions.result(job_id).splitlines()] == [*range(NUM_RECORDS)]


def parts_of(keys: dict[str, str]) -> dict[str, str]:
    return {name: key for name, key in keys.items() if name in PARTS}
