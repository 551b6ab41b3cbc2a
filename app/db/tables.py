"""The rows. No query stands here, and no rule: one file an aggregate beside this one holds its SQL.

Every resource belongs to a project. Status columns hold the values of the enums in `app.contract.job`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, MetaData, String, Text, text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

DEFAULT_PROJECT_ID = "default"


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, aware and in UTC on both sides; SQLite stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Row(DeclarativeBase):
    """Constraints have names, so that a migration can name them."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON, int: BigInteger}


Id = String(64)
#: Of a job: it has not been deleted.
_THERE = text("deleted_at IS NULL")


class ProjectRow(Row):
    """`served_at`: when one of its jobs started last."""

    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    served_at: Mapped[datetime | None]


class ApiKeyRow(Row):
    """Only the SHA-256 of a key is kept; `prefix` finds the row and names the key in lists."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class DatasetRow(Row):
    """`blob_key` is the artifact that holds the bytes, shared by uploads of the same bytes in one project.

    A deleted data set keeps its row, because finished jobs and models name it; its bytes go.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index("ix_datasets_listing", "project_id", "id"), Index("ix_datasets_blob", "blob_key"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(200))
    filename: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(32))
    columns: Mapped[dict[str, Any]]
    num_examples: Mapped[int]
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    blob_key: Mapped[str] = mapped_column(String(512))
    profile: Mapped[dict[str, Any]]
    warnings: Mapped[list[Any]]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class JobRow(Row):
    """`attempt` counts starts; `lost_attempts` only those that were lost, and `seconds_run` what ended attempts took,
    both since the last retry. The lease belongs to (owner, attempt).

    `trials` are those that have decided its `auto` fields, or are to.
    `error` tells why it failed or, of a queued job, what holds it back. `store_bytes` and `scratch_bytes` are what it
    will write at most; null where that was not estimated.
    A deleted job keeps its row, because its models and its children name it; all else that it has goes.
    `stop_request` is what the owner should do: `cancel` or `pause`. `parent_ref` is what the user named;
    `parent_model_id` is pinned when the job first starts. `traceparent` is the span of the request that asked for it.
    `labels` are those that its trainer must have, sorted; null is as none.
    A job of a sweep is one `fold`, from 0, of a `trial`; both are null of the one that a sweep ends with. `pause_at` is
    the share of the training behind which it is to pause.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_listing", "project_id", "id"),
        Index("ix_jobs_claim", "status", "device", "priority", "id"),
        Index("ix_jobs_parent", "parent_job_id"),
        Index("ix_jobs_sweep", "sweep_id", "trial", "fold", unique=True),
        Index("ix_jobs_figures", "method", "status", sqlite_where=_THERE, postgresql_where=_THERE),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(64))
    name: Mapped[str | None] = mapped_column(String(200))
    job_metadata: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]]
    resolved: Mapped[dict[str, Any] | None]
    environment: Mapped[dict[str, Any] | None]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    validation_dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    parent_ref: Mapped[str | None] = mapped_column(String(200))
    parent_job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    parent_model_id: Mapped[str | None] = mapped_column(Id)
    sweep_id: Mapped[str | None] = mapped_column(Id)
    trial: Mapped[int | None]
    fold: Mapped[int | None]
    pause_at: Mapped[float | None]
    model_id: Mapped[str | None] = mapped_column(Id)
    device: Mapped[str] = mapped_column(String(16))
    labels: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=list)
    priority: Mapped[int]
    store_bytes: Mapped[int | None]
    scratch_bytes: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(default=0)
    lost_attempts: Mapped[int] = mapped_column(default=0)
    seconds_run: Mapped[float] = mapped_column(default=0.0, server_default="0")
    lease_owner: Mapped[str | None] = mapped_column(Id)
    lease_expires_at: Mapped[datetime | None]
    stop_request: Mapped[str | None] = mapped_column(String(16))
    wake_at: Mapped[datetime | None]
    wake_count: Mapped[int] = mapped_column(default=0)
    traceparent: Mapped[str | None] = mapped_column(String(55))
    progress: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    trials: Mapped[list[Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class SweepRow(Row):
    """`spec` is what was asked for, defaults filled in; `template` is its job as it was given, to which each trial adds
    its parameters. `importance` is by the parameter's path. `error` tells why it failed or, while it runs, what holds
    it back. `final_job_id` trains the best parameters again, on all data."""

    __tablename__ = "sweeps"
    __table_args__ = (Index("ix_sweeps_listing", "project_id", "id"), Index("ix_sweeps_status", "status"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]]
    template: Mapped[dict[str, Any]]
    importance: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    final_job_id: Mapped[str | None] = mapped_column(Id)
    model_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


class TrialRow(Row):
    """One choice of a sweep's parameters, by path. `rung` counts those that it has passed; `rung_scores` are by their
    number. `results` has one entry a fold. Once `state` is another than running, nothing changes."""

    __tablename__ = "trials"
    sweep_id: Mapped[str] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    rung: Mapped[int] = mapped_column(default=0)
    rung_scores: Mapped[dict[str, Any]]
    mean: Mapped[float | None]
    standard_deviation: Mapped[float | None]
    results: Mapped[list[Any]]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class AttemptRow(Row):
    __tablename__ = "attempts"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(Id)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(16))
    detail: Mapped[str | None] = mapped_column(Text)


class WorkerRow(Row):
    """A trainer or an inference replica that says it lives. `loaded` lists model digests (inference), and `cache_bytes`
    bounds the models that it holds.

    `labels` are what jobs may ask of a trainer. They, `name` and `version` are null for a worker of a version that did
    not tell them.
    """

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(String(255))
    version: Mapped[str | None] = mapped_column(String(64))
    queues: Mapped[list[Any]]
    devices: Mapped[list[Any]]
    labels: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True), default=list)
    address: Mapped[str | None] = mapped_column(String(255))
    loaded: Mapped[list[Any]]
    cache_bytes: Mapped[int | None]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]


class EventRow(Row):
    """`id` ascends within a job without gaps; it is the SSE id."""

    __tablename__ = "events"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class MetricRow(Row):
    """One point of one series; upserted, so that a replay after a kill makes no repeats."""

    __tablename__ = "metrics"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float]


class CheckpointRow(Row):
    """A verified, published checkpoint. `manifest` is the CheckpointManifest; files lie under `artifact_prefix`."""

    __tablename__ = "checkpoints"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int]
    artifact_prefix: Mapped[str] = mapped_column(String(512))
    manifest: Mapped[dict[str, Any]]
    size_bytes: Mapped[int]
    created_at: Mapped[datetime]


class ModelRow(Row):
    """A registered, immutable result. `reference` is the ModelReference that serving loads by.

    `pinned_at`, which alone may change, is set while every replica keeps the model in memory.
    """

    __tablename__ = "models"
    __table_args__ = (
        Index("ix_models_listing", "project_id", "id"),
        Index("ix_models_job", "job_id"),
        Index("ix_models_pinned", "pinned_at"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(16))
    method: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    checkpoint_step: Mapped[int | None]
    parent_model_id: Mapped[str | None] = mapped_column(Id)
    dataset_id: Mapped[str | None] = mapped_column(Id)
    digest: Mapped[str] = mapped_column(String(64))
    reference: Mapped[dict[str, Any]]
    description: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    size_bytes: Mapped[int]
    pinned_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class EvaluationRow(Row):
    """How good a model is on a data set: the EvaluationReport, and where what each unit adds to it lies. It belongs to
    the model, and outlives the job that made it, whose id it has but for the prefix."""

    __tablename__ = "evaluations"
    __table_args__ = (Index("ix_evaluations_model", "model_id", "id"), Index("ix_evaluations_job", "job_id"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    report: Mapped[dict[str, Any]]
    units_key: Mapped[str] = mapped_column(String(512))
    units_size_bytes: Mapped[int]
    units_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class AliasRow(Row):
    __tablename__ = "aliases"
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(200), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    updated_at: Mapped[datetime]


class ArtifactRow(Row):
    """A file a job made for its user; the name is unique within the job."""

    __tablename__ = "artifacts"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(512))
    media_type: Mapped[str] = mapped_column(String(100))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class IdempotencyRow(Row):
    """The first answer to a key; `status_code` is null while that first request is in flight."""

    __tablename__ = "idempotency_keys"
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[str] = mapped_column(String(64))
    status_code: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class WebhookRow(Row):
    """Where to tell of a project's jobs, or of one job. The secret signs, so it is kept as it is."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_listing", "project_id", "id"), Index("ix_webhooks_job", "job_id"))
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    secret: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]


class OutboxRow(Row):
    """A notice to deliver at least once. `due_at` counts while it is pending; `error` is that of the last attempt."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_listing", "project_id", "id"),
        Index("ix_outbox_due", "status", "due_at"),
        Index("ix_outbox_webhook", "webhook_id"),
    )
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    response_status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class DutyLeaseRow(Row):
    """Which process does a recurrent duty now."""

    __tablename__ = "duty_leases"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(Id)
    expires_at: Mapped[datetime]
