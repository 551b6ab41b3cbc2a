"""Jobs as a trainer moves them, without one: what it would write, written. And data that can be looked at."""

import json
from typing import Any

from app.contract.job import JobStatus
from app.db import events, jobs, metrics
from app.db.session import Database, now
from app.db.tables import DatasetRow, JobRow
from app.storage import FolderStore
from tests.factories import make_dataset, put


def report(database: Database, job: JobRow, step: int, total_steps: int = 100, **values: float) -> None:
    """A line of metrics, as `worker.supervisor` records it."""
    progress = {
        "step": step,
        "total_steps": total_steps,
        "fraction": step / total_steps,
        "examples_per_second": 320.0,
        "steps_per_second": 10.0,
        "tokens_per_second": 41_000.0,
        "eta_seconds": float(total_steps - step),
    }
    with database.transaction() as session:
        metrics.upsert(session, job.id, step, values)
        row = session.get_one(JobRow, job.id)
        row.progress, row.metrics = progress, row.metrics | values
        events.append(session, job.id, "metrics", {"step": step, "values": values, "progress": progress}, now(session))


def tell(database: Database, job: JobRow, type: str, **data: object) -> None:  # noqa: A002  the column's name
    with database.transaction() as session:
        events.append(session, job.id, type, data, now(session))


def move(database: Database, job: JobRow, to: JobStatus, *, when: JobStatus, **changes: Any) -> None:
    with database.transaction() as session:
        assert jobs.transition(session, job.id, to, when={when}, at=now(session), **changes)


def make_reviews(database: Database, store: FolderStore, **columns: Any) -> DatasetRow:
    """A labelled data set with its bytes."""
    dataset = make_dataset(database, "labeled_text", columns={"text": "text", "label": "label"}, **columns)
    put(store, dataset.blob_key, json.dumps({"text": "A fine film.", "label": "good"}).encode() + b"\n")
    return dataset
