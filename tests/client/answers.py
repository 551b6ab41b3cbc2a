"""Answers of the service, whole."""

from typing import Any

NULL_FIELDS = (
    "resolved",
    "validation_dataset_id",
    "parent",
    "parent_job_id",
    "parent_model_id",
    "model_id",
    "queue_position",
    "error",
    "queued_at",
    "started_at",
    "finished_at",
)


def job(**changes: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(NULL_FIELDS)
    given = {
        "id": "job_1",
        "kind": "pretrain",
        "method": "gan",
        "name": "a job",
        "status": "succeeded",
        "spec": {"kind": "pretrain", "dataset": "ds_1", "method": {"type": "gan"}},
        "dataset_id": "ds_1",
        "priority": 0,
        "metadata": {},
        "attempt": 1,
        "progress": {"step": 3},
        "metrics": {},
        "created_at": "2026-01-01T00:00:00Z",
    }
    return nothing | given | changes


def dataset(**changes: Any) -> dict[str, Any]:
    given = {
        "id": "ds_1",
        "name": "data",
        "filename": "data.txt",
        "kind": "text",
        "columns": {},
        "num_examples": 1,
        "size_bytes": 3,
        "sha256": "0" * 64,
        "profile": {},
        "warnings": [],
        "created_at": "2026-01-01T00:00:00Z",
    }
    return given | changes
