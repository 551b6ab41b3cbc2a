"""Rows as the service itself would have made them, one call each; what a test does not name has a plain default."""

import hashlib
import json
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.checkpoint import MODEL_FOLDER, CheckpointManifest, Environment, FileEntry, checkpoint_folder_name
from app.contract.evaluations import UNITS_MEDIA_TYPE, UNITS_NAME
from app.contract.inference import ModelReference
from app.contract.job import TERMINAL, JobStatus
from app.contract.layout import attempt_prefix
from app.contract.model_folder import (
    BodyDescription,
    Granularity,
    InputKind,
    Label,
    ModelDescription,
    model_digest,
)
from app.contract.specs.architectures import ConvArchitecture, MlpArchitecture, TransformerArchitecture
from app.contract.specs.job import ModelJobSpec, job_spec_adapter
from app.contract.webhooks import Webhook
from app.db import artifacts, checkpoints, evaluations, jobs, models, webhooks
from app.db.ids import new_id
from app.db.session import Database, now
from app.db.tables import (
    DEFAULT_PROJECT_ID,
    CheckpointRow,
    DatasetRow,
    EvaluationRow,
    JobRow,
    ModelRow,
    OutboxRow,
    ProjectRow,
    WebhookRow,
)
from app.evaluation.reporting import report_of
from app.evaluation.units import write_units
from app.services.webhooks import webhook_row
from app.storage import ArtifactStore

TEXT_BODY = BodyDescription(
    architecture=TransformerArchitecture(num_layers=1, width=16, num_heads=2, context_length=16),
    input=InputKind.TEXT,
    granularity=Granularity.TOKENS,
    vocab_size=300,
)
FEATURES_BODY = BodyDescription(
    architecture=MlpArchitecture(hidden_widths=(8,)),
    input=InputKind.FEATURES,
    granularity=Granularity.EXAMPLE,
    input_shape=(4,),
    code_size=2,
)
IMAGE_BODY = BodyDescription(
    architecture=ConvArchitecture(channels=(4,)),
    input=InputKind.IMAGE,
    granularity=Granularity.EXAMPLE,
    input_shape=(1, 8, 8),
    code_size=2,
)

PROFILES: dict[str, dict[str, Any]] = {
    "text": {"length": {"p50": 5_000, "p95": 5_000, "max": 5_000}},
    "labeled_text": {"labels": {"bad": 5, "good": 5}, "num_labels": 2, "length": {"p50": 20, "p95": 40, "max": 60}},
    "scored_text": {"length": {"p50": 20, "p95": 40, "max": 60}, "target_size": 1},
    "vectors": {"num_features": 4},
    "labeled_vectors": {"num_features": 4, "labels": {"a": 5, "b": 5}, "num_labels": 2},
    "scored_vectors": {"num_features": 4, "target_size": 1},
    "images": {"shape": [1, 8, 8]},
    "labeled_images": {"shape": [1, 8, 8], "labels": {"a": 5, "b": 5}, "num_labels": 2},
    "tagged_tokens": {"labels": {"O": 10}, "num_labels": 1, "length": {"p50": 20, "p95": 40, "max": 60}},
    "semantic_roles": {"labels": {"B-A0": 10}, "num_labels": 1, "length": {"p50": 20, "p95": 40, "max": 60}},
    "instructions": {"length": {"p50": 20, "p95": 40, "max": 60}},
}


def make_project(database: Database, project_id: str = DEFAULT_PROJECT_ID) -> str:
    with database.transaction() as session:
        if session.get(ProjectRow, project_id) is None:
            session.add(ProjectRow(id=project_id, name=project_id, created_at=now(session)))
    return project_id


def make_dataset(
    database: Database, kind: str = "text", *, project_id: str = DEFAULT_PROJECT_ID, **columns: Any
) -> DatasetRow:
    """A row without bytes: what the API asks about data sets, it asks of their rows."""
    make_project(database, project_id)
    dataset_id = new_id("ds")
    sha256 = hashlib.sha256(dataset_id.encode()).hexdigest()
    defaults: dict[str, Any] = {
        "name": kind,
        "filename": "data.jsonl",
        "columns": {},
        "num_examples": 10,
        "size_bytes": 5_000,
        "blob_key": f"{project_id}/blobs/{sha256}",
        "profile": PROFILES.get(kind, {}),
        "warnings": [],
    }
    with database.transaction() as session:
        row = DatasetRow(
            id=dataset_id,
            project_id=project_id,
            kind=kind,
            sha256=sha256,
            created_at=now(session),
            **(defaults | columns),
        )
        session.add(row)
    return row


def language_model_spec(dataset_id: str, **fields: Any) -> dict[str, Any]:
    """A valid pretrain spec, as a user would send it."""
    return {
        "kind": "pretrain",
        "dataset": dataset_id,
        "method": {
            "type": "causal_language_model",
            "architecture": {"type": "transformer", "num_layers": 1, "width": 16, "num_heads": 2, "context_length": 16},
            "tokenizer": {"type": "bpe", "vocab_size": 300},
        },
        **fields,
    }


def make_job(
    database: Database,
    *,
    status: JobStatus = JobStatus.QUEUED,
    spec: Mapping[str, Any] | None = None,
    project_id: str = DEFAULT_PROJECT_ID,
    **columns: Any,
) -> JobRow:
    """A job in any state, with the event that told its first; `columns` are those of the row. A batch prediction or an
    evaluation needs the `method` of its model."""
    given = spec or language_model_spec(make_dataset(database, project_id=project_id).id)
    parsed = job_spec_adapter.validate_python(given)
    with database.transaction() as session:
        at = now(session)
        defaults: dict[str, Any] = {
            "name": parsed.name,
            "job_metadata": parsed.metadata,
            "parent_ref": given.get("parent"),
            "device": parsed.resources.device,
            "labels": sorted(parsed.resources.labels),
            "priority": parsed.priority,
            "progress": {},
            "metrics": {},
            "queued_at": at,
            "finished_at": at if status in TERMINAL else None,
        }
        if not isinstance(parsed, ModelJobSpec):
            defaults["method"] = parsed.method.type
            defaults["validation_dataset_id"] = parsed.training.validation_dataset
        row = JobRow(
            id=new_id("job"),
            project_id=project_id,
            kind=parsed.kind,
            status=status.value,
            spec=parsed.model_dump(mode="json"),
            dataset_id=parsed.dataset,
            created_at=at,
            **(defaults | columns),
        )
        jobs.insert(session, row)
    return row


def make_checkpoint(
    database: Database,
    store: ArtifactStore,
    job: JobRow,
    step: int,
    *,
    is_best: bool = False,
    metrics: Mapping[str, float] | None = None,
    body: BodyDescription = TEXT_BODY,
    labels: tuple[Label, ...] | None = None,
    seed: int = 0,
) -> CheckpointRow:
    """A published checkpoint whose model folder really lies in the store. Equal seeds give equal weights."""
    prefix = f"{job.project_id}/jobs/{job.id}/attempt-1/{checkpoint_folder_name(step)}"
    folder = f"{prefix}/{MODEL_FOLDER}"
    description = ModelDescription.model_validate(
        {"kind": job.kind, "method": job.method, "body": body, "labels": labels, "num_parameters": 1_000}
    )
    entries = tuple(
        put(store, f"{folder}/{name}", content).model_copy(update={"path": f"{MODEL_FOLDER}/{name}"})
        for name, content in _model_files(description, seed).items()
    )
    manifest = CheckpointManifest(
        step=step,
        files=entries,
        metrics=dict(metrics or {}),
        is_best=is_best,
        environment=Environment(torch="2.13.0", cpu_capability="AVX2", num_threads=1, device="cpu"),
        model_digest=model_digest(
            entry.model_copy(update={"path": entry.path.removeprefix(f"{MODEL_FOLDER}/")}) for entry in entries
        ),
    )
    with database.transaction() as session:
        checkpoints.upsert(
            session,
            job_id=job.id,
            step=step,
            attempt=1,
            artifact_prefix=prefix,
            manifest=manifest.model_dump(mode="json"),
            size_bytes=sum(entry.size_bytes for entry in entries),
            at=now(session),
        )
        row = checkpoints.get(session, job.id, step)
    assert row is not None
    return row


def make_artifact(
    database: Database, store: ArtifactStore, job: JobRow, name: str = "a.txt", content: bytes = b"mine"
) -> None:
    """Of the job's first attempt."""
    key = f"{job.project_id}/jobs/{job.id}/attempt-1/artifacts/{name.rsplit('/', 1)[-1]}"
    stored = put(store, key, content)
    with database.transaction() as session:
        artifacts.upsert(
            session,
            job_id=job.id,
            name=name,
            key=key,
            media_type="text/plain",
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            at=now(session),
        )


def make_model(
    database: Database,
    store: ArtifactStore,
    *,
    job: JobRow | None = None,
    body: BodyDescription = TEXT_BODY,
    labels: tuple[Label, ...] | None = None,
    parent: ModelRow | None = None,
    name: str | None = None,
    seed: int = 0,
    step: int = 10,
    metrics: Mapping[str, float] | None = None,
) -> ModelRow:
    """The result of a succeeded job, which is made where none is given."""
    job = job or make_job(database, status=JobStatus.SUCCEEDED)
    checkpoint = make_checkpoint(
        database, store, job, step, is_best=True, metrics=metrics, body=body, labels=labels, seed=seed
    )
    manifest = CheckpointManifest.model_validate_json(json.dumps(checkpoint.manifest))
    reference = ModelReference(
        model_id=new_id("model"),
        digest=manifest.model_digest,
        artifact_prefix=f"{checkpoint.artifact_prefix}/{MODEL_FOLDER}",
        files=manifest.model_files(),
    )
    description = ModelDescription.model_validate(
        {"kind": job.kind, "method": job.method, "body": body, "labels": labels, "num_parameters": 1_000}
    )
    with database.transaction() as session:
        row = models.register(
            session,
            project_id=job.project_id,
            name=name,
            kind=job.kind,
            method=job.method,
            job_id=job.id,
            checkpoint_step=step,
            parent_model_id=parent.id if parent else None,
            dataset_id=job.dataset_id,
            reference=reference,
            description=description,
            metrics=manifest.metrics,
            size_bytes=checkpoint.size_bytes,
            at=now(session),
        )
        session.get_one(JobRow, job.id).model_id = row.id
    job.model_id = row.id
    return row


def make_evaluation(
    database: Database,
    store: ArtifactStore,
    model: ModelRow,
    dataset: DatasetRow,
    *,
    right: Sequence[bool] = (True, True, False, True),
) -> EvaluationRow:
    """Of a classification by the labels `bad` and `good`, with its job; `right`: which examples are told rightly."""
    spec = {"kind": "evaluate", "model": model.id, "dataset": dataset.id}
    status, project_id = JobStatus.SUCCEEDED, model.project_id
    of_model = {"parent_model_id": model.id, "method": model.method}
    job = make_job(database, status=status, spec=spec, project_id=project_id, **of_model)
    given = np.arange(len(right)) % 2
    told = np.where(right, given, 1 - given)
    sure = np.full(len(right), 0.8)
    units = {"given": given, "told": told, "nats": np.where(right, 0.2, 1.6), "brier": sure, "confidence": sure}
    report = report_of(units, method="classification", unit="example", labels=("bad", "good"), seed=0, resamples=100)
    key = f"{attempt_prefix(project_id, job.id, 1)}/artifacts/{UNITS_NAME}"
    with tempfile.TemporaryDirectory() as folder:
        stored = store.put(key, write_units(Path(folder) / UNITS_NAME, units))
    with database.transaction() as session:
        artifacts.upsert(
            session,
            job_id=job.id,
            name=UNITS_NAME,
            key=key,
            media_type=UNITS_MEDIA_TYPE,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            at=now(session),
        )
        artifact = artifacts.get(session, job.id, UNITS_NAME)
        assert artifact is not None
        return evaluations.register(session, job, report, artifact, now(session))


def put(store: ArtifactStore, key: str, content: bytes) -> FileEntry:
    """Store bytes; the entry's path is the last part of the key."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        stored = store.put(key, Path(file.name))
    return FileEntry(path=key.rsplit("/", 1)[1], size_bytes=stored.size_bytes, sha256=stored.sha256)


def _model_files(description: ModelDescription, seed: int) -> dict[str, bytes]:
    return {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": _safetensors(seed),
        "pretune.json": description.model_dump_json().encode(),
    }


def _safetensors(seed: int) -> bytes:
    """One tensor of four numbers, in the format's own bytes: a length, a JSON header, the data."""
    header = {
        "__metadata__": {"format": "pt"},
        "weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    }
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + struct.pack("<4f", *(float(seed + place) for place in range(4)))


def make_webhook(database: Database, *, project_id: str = DEFAULT_PROJECT_ID, **fields: Any) -> WebhookRow:
    """To a name that nothing has."""
    with database.transaction() as session:
        row = webhook_row(Webhook(url="https://hooks.invalid/", **fields), project_id, now(session))
        webhooks.insert(session, row)
    return row


def make_notice(
    database: Database, webhook: WebhookRow, *, status: str = "delivered", error: str | None = None
) -> OutboxRow:
    with database.transaction() as session:
        at = now(session)
        row = OutboxRow(
            id=new_id("msg"),
            project_id=webhook.project_id,
            webhook_id=webhook.id,
            event="job.succeeded",
            payload={},
            status=status,
            error=error,
            due_at=at,
            created_at=at,
        )
        session.add(row)
    return row
