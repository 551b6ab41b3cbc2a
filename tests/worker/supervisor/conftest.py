"""Trainers in this process, with scripted training processes and short times. Celery is tried in test_celery_worker.

A lease is as long as a user's: a busy machine may stand still for seconds. Who waits for one to run out shortens it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.support.scripted_trainer import SCRIPTED_COMMAND
from tests.support.training_jobs import TrainingJobs
from worker.supervisor.child import TRAINING_COMMAND
from worker.supervisor.trainer import Trainer

SHORT_TIMES: dict[str, Any] = {
    "lease_seconds": 30.0,
    "heartbeat_seconds": 0.3,
    "stop_poll_seconds": 0.1,
    "stop_grace_seconds": 5.0,
    "cancel_grace_seconds": 0.5,
    "idle_poll_seconds": 0.1,
    "housekeeping_seconds": 0.2,
    "threads": 1,
    "device": "cpu",
}

StartTrainer = Callable[..., Trainer]


@pytest.fixture
def trainer_settings(database: Database, valkey_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database.engine.url.render_as_string(hide_password=False),
        broker_url=valkey_url,
        **SHORT_TIMES,
    )


@pytest.fixture
def training_jobs(database: Database, trainer_settings: Settings, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, FolderStore(trainer_settings.artifacts_dir), tmp_path)


@pytest.fixture
def start_trainer(trainer_settings: Settings) -> Iterator[StartTrainer]:
    with _trainers(trainer_settings, SCRIPTED_COMMAND) as start:
        yield start


@pytest.fixture
def start_real_trainer(trainer_settings: Settings) -> Iterator[StartTrainer]:
    """Its training processes train."""
    with _trainers(trainer_settings, TRAINING_COMMAND) as start:
        yield start


@contextmanager
def _trainers(settings: Settings, command: tuple[str, ...]) -> Iterator[StartTrainer]:
    started = []

    def start(**changes: Any) -> Trainer:
        trainer = Trainer(settings.model_copy(update=changes), command)
        started.append(trainer)
        trainer.start()
        return trainer

    try:
        yield start
    finally:
        for trainer in started:
            trainer.stop()


def language_model(training_jobs: TrainingJobs, *, steps: int, every: int) -> dict[str, Any]:
    """As small as a transformer can be; evaluated and kept `every` so many steps."""
    lines = "".join(f"the {number}th line is followed by line {number + 1}.\n" for number in range(400))
    return {
        "kind": "pretrain",
        "dataset": training_jobs.dataset(lines.encode(), filename="lines.txt", kind="text"),
        "method": {
            "type": "causal_language_model",
            "architecture": {
                "type": "transformer",
                "num_layers": 1,
                "width": 16,
                "num_heads": 2,
                "context_length": 16,
            },
            "tokenizer": {"type": "bpe", "vocab_size": 300},
        },
        "training": {
            "duration": {"steps": steps},
            "batch_size": 4,
            "checkpoint_every": {"steps": every},
            "evaluate_every": {"steps": every},
            "compile": False,
            "precision": "fp32",
        },
    }
