"""Trainers in this process, with scripted training processes and short times. Celery is tried in test_celery_worker.

A lease is as long as a user's: a busy machine may stand still for seconds. Who waits for one to run out shortens it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.support.scripted_trainer import SCRIPTED_COMMAND
from tests.support.training_jobs import TrainingJobs
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
    started = []

    def start(**changes: Any) -> Trainer:
        trainer = Trainer(trainer_settings.model_copy(update=changes), SCRIPTED_COMMAND)
        started.append(trainer)
        trainer.start()
        return trainer

    yield start
    for trainer in started:
        trainer.stop()
