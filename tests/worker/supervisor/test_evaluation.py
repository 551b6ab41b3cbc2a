"""Evaluations through a trainer: paused, killed, and what is left of them."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from app.contract.job import JobStatus
from app.contract.specs.job import job_spec_adapter
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.evaluations import Evaluations
from app.services.jobs import Jobs
from app.settings import Settings
from tests.app.services.jobs.conftest import RecordedWakes
from tests.support.training_jobs import TrainingJobs, training_process
from tests.support.waiting import wait_until
from tests.worker.serving import models
from tests.worker.supervisor.conftest import StartTrainer

pytestmark = [pytest.mark.slow, pytest.mark.databases("sqlite"), pytest.mark.timeout(400)]

NUM_DOCUMENTS = 6_000


def part(number: int) -> str:
    """Of eight batches."""
    return f"units/part-{8 * number:012d}.npz"


def texts() -> bytes:
    """Six parts or more, each a second's work."""
    rng = np.random.default_rng(0)
    words = models.TEXT.split()
    documents = (" ".join(rng.choice(words, int(rng.integers(5, 60)))) for _ in range(NUM_DOCUMENTS))
    return "\n".join(json.dumps({"text": text}) for text in documents).encode()


def test_kills_and_pauses_change_no_byte_and_judge_no_kept_part_again(
    database: Database,
    training_jobs: TrainingJobs,
    trainer_settings: Settings,
    start_real_trainer: StartTrainer,
    tmp_path: Path,
) -> None:
    jobs = Jobs(database, RecordedWakes(), trainer_settings)
    dataset_id = training_jobs.dataset(texts(), filename="texts.jsonl", kind="text", num_examples=NUM_DOCUMENTS)
    model_id = training_jobs.import_model(models.language_model(tmp_path / "model"))
    asked = {"kind": "evaluate", "model": model_id, "dataset": dataset_id, "resamples": 200}

    def submit() -> str:
        return jobs.submit(DEFAULT_PROJECT_ID, job_spec_adapter.validate_python(asked)).id

    def kept(job_id: str, name: str) -> dict[str, str]:
        wait_until(lambda: name in training_jobs.artifact_keys(job_id), 60.0, f"{job_id} should keep {name}")
        return {name: key for name, key in training_jobs.artifact_keys(job_id).items() if name.startswith("units/")}

    def results(job_id: str) -> list[bytes]:
        keys = training_jobs.artifact_keys(job_id)
        assert set(keys) == {"evaluation.json", "units.npz", "training.log"}
        return [training_jobs.read_bytes(keys[name]) for name in ("evaluation.json", "units.npz")]

    start_real_trainer()
    whole = submit()
    row = training_jobs.wait_for(whole, JobStatus.SUCCEEDED)
    assert (row.progress["step"], row.progress["fraction"]) == (NUM_DOCUMENTS, 1.0)
    assert row.model_id is None
    assert row.metrics.keys() == {"nats_per_token", "perplexity", "bits_per_character"}

    disturbed = submit()
    killed = kept(disturbed, part(0))
    os.kill(training_process(trainer_settings.scratch_dir, disturbed), signal.SIGKILL)
    training_jobs.wait_for_attempt(disturbed, 2)
    paused = kept(disturbed, part(len(killed)))
    training_jobs.request_stop(disturbed, "pause")
    training_jobs.wait_for(disturbed, JobStatus.PAUSED)
    training_jobs.resume(disturbed)
    training_jobs.wait_for(disturbed, JobStatus.SUCCEEDED)

    assert training_jobs.outcomes(disturbed) == ["lost", "paused", "succeeded"]
    assert killed.items() <= paused.items()
    assert results(disturbed) == results(whole)
    evaluations = Evaluations(database, training_jobs.store)
    views = evaluations.page(DEFAULT_PROJECT_ID, model_id, None, 10).data
    assert [view.job_id for view in views] == [disturbed, whole]
    found = evaluations.get(DEFAULT_PROJECT_ID, views[0].id)
    assert found.report.model_dump(mode="json") == json.loads(results(disturbed)[0])
    assert (found.unit, found.num_units) == ("document", NUM_DOCUMENTS)
    compared = evaluations.compare(DEFAULT_PROJECT_ID, views[0].id, views[1].id)
    assert compared.measures["nats_per_token"].p_value == 1.0
