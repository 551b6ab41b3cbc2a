"""Sweeps over a real database, whose jobs end at once: what they measure is a function of their spec."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.contract.errors import ErrorCode, JobError
from app.contract.job import AttemptOutcome, Fault
from app.contract.messages import Resolved
from app.contract.specs.sweep import SweepSpec
from app.db import attempts, metrics, sweeps
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, JobRow
from app.services.jobs import Jobs
from app.services.sweeps.controller import SweepController
from app.services.sweeps.service import Sweeps
from app.services.sweeps.views import SweepView
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.jobs.conftest import RecordedWakes
from tests.factories import FEATURES_BODY, make_checkpoint, make_dataset, make_model, make_project

RATE = "training.optimizer.learning_rate"
STEPS, EVERY = 90, 10
#: Of a job's spec and a step.
Loss = Callable[[dict[str, Any], int], float]


def rate_of(spec: dict[str, Any]) -> float:
    return float(spec["training"]["optimizer"]["learning_rate"])


def log_distance(spec: dict[str, Any], step: int) -> float:
    """Least at 1e-3, and less with every step."""
    return (math.log10(rate_of(spec)) + 3) ** 2 + 1 / step


@dataclass
class SweepBench:
    """`look` is what a trainer's duty does, `train` what its slots do."""

    database: Database
    store: FolderStore
    settings: Settings
    sweeps: Sweeps
    controller: SweepController
    jobs: Jobs
    loss: Loss = log_distance
    dataset_kind: str = "scored_vectors"
    trained: list[str] = field(default_factory=list)

    def body(self, **fields: Any) -> dict[str, Any]:
        dataset = make_dataset(self.database, self.dataset_kind, num_examples=40)
        job = {
            "kind": "pretrain",
            "dataset": dataset.id,
            "method": {"type": "regression"},
            "training": {"duration": {"steps": STEPS}},
        }
        search = {RATE: {"type": "log_uniform", "low": 1e-5, "high": 1e-1}}
        return {"job": job, "search": search, "trials": 6, **fields}

    def create(self, **fields: Any) -> SweepView:
        return self.sweeps.create(DEFAULT_PROJECT_ID, SweepSpec.model_validate_json(json.dumps(self.body(**fields))))

    def get(self, sweep_id: str) -> SweepView:
        return self.sweeps.get(DEFAULT_PROJECT_ID, sweep_id)

    def look(self) -> set[str]:
        return self.controller.round()

    def train(self, limit: int = 10_000) -> int:
        """Take what is queued to its rung or its end; how many jobs that were."""
        count = 0
        while count < limit and self._train_one():
            count += 1
        return count

    def run(self, sweep_id: str) -> SweepView:
        """To its end. Everything is looked at twice: a second look changes nothing."""
        for _ in range(500):
            self.look()
            assert self.look() == set()
            if not self.train():
                break
        self.look()
        return self.get(sweep_id)

    def job(self, job_id: str) -> JobRow:
        with self.database.reading() as session:
            return session.get_one(JobRow, job_id)

    def jobs_of(self, sweep_id: str) -> list[JobRow]:
        with self.database.reading() as session:
            return list(sweeps.jobs_of(session, sweep_id))

    def _train_one(self) -> bool:
        with self.database.transaction() as session:
            row = attempts.claim(session, owner="wrk_a", devices=("auto", "cpu"), lease_seconds=600.0)
            if row is None:
                return False
        self.trained.append(row.id)
        resolved = _resolved(row)
        begun = int(row.progress.get("step", 0))
        pause = resolved.pause_step(row.pause_at)
        last = pause or resolved.total_steps
        with self.database.transaction() as session:
            row = session.get_one(JobRow, row.id)
            row.resolved = resolved.model_dump(mode="json")
            losses = {step: self.loss(row.spec, step) for step in range(begun + EVERY, last + 1, EVERY)}
            failed = any(map(math.isnan, losses.values()))
            validates = resolved.num_validation_examples > 0
            for step, loss in losses.items() if validates and not failed else ():
                metrics.upsert(session, row.id, step, {"validation_loss": loss, "r2": 1 - loss / 100})
            row.metrics = {"validation_loss": 0.5, "r2": 0.5}
            row.progress = {"step": last, "total_steps": resolved.total_steps}
            error = JobError(code=ErrorCode.LOSS_NOT_FINITE, message="It became NaN.", fault=Fault.USER)
            outcome = AttemptOutcome.PAUSED if pause else AttemptOutcome.SUCCEEDED
            attempts.conclude(
                session,
                row,
                AttemptOutcome.FAILED if failed else outcome,
                at=now(session),
                max_lost_attempts=3,
                error=error if failed else None,
            )
        if row.trial is None:
            model = make_model(self.database, self.store, job=row, body=FEATURES_BODY, step=last)
            with self.database.transaction() as session:
                session.get_one(JobRow, row.id).model_id = model.id
        elif not failed:
            for step in {last, min(losses, key=lambda step: (losses[step], step))}:
                make_checkpoint(self.database, self.store, row, step, body=FEATURES_BODY)
        return True


def _resolved(row: JobRow) -> Resolved:
    training = row.spec["training"]
    total = training["duration"]["steps"] or STEPS
    validates = training["validation_fraction"] > 0 or training["validation_fold"] is not None
    return Resolved(
        device="cpu",
        precision="fp32",
        compile=False,
        total_steps=total,
        evaluate_every_steps=EVERY,
        checkpoint_every_steps=EVERY,
        num_parameters=1,
        num_train_examples=36,
        num_validation_examples=4 if validates else 0,
    )


@pytest.fixture
def bench(database: Database, settings: Settings, store: FolderStore) -> SweepBench:
    return make_bench(database, settings, store)


def make_bench(database: Database, settings: Settings, store: FolderStore) -> SweepBench:
    make_project(database)
    wakes = RecordedWakes()
    return SweepBench(
        database,
        store,
        settings,
        Sweeps(database, store, wakes, settings),
        SweepController(database, store, settings),
        Jobs(database, wakes, settings),
    )
