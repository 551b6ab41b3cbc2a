"""Jobs, their events and checkpoints in OpenAI's shapes; native fields beside them, where the names are free."""

import re
import time
from typing import Any, Literal

from app.api.openai.conventions import unix
from app.api.openai.fine_tuning_requests import default_rate
from app.contract.base import Contract
from app.contract.job import JobStatus
from app.contract.messages import Resolved
from app.services.jobs import JobView
from app.services.jobs.events import EventType, EventView
from app.services.jobs.results import CheckpointView
from app.services.jobs.views import JobProgress
from app.services.paging import bad_cursor

OpenAIStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
_STATUS: dict[JobStatus, OpenAIStatus] = {
    JobStatus.WAITING: "queued",
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.PAUSING: "running",
    JobStatus.CANCELLING: "running",
    JobStatus.PAUSED: "paused",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}


class JobFailure(Contract):
    message: str
    code: str
    param: None = None


class ToldHyperparameters(Contract):
    """`auto` where the job's length is not in epochs, and where trials have not decided yet."""

    n_epochs: float | Literal["auto"]
    batch_size: Literal["auto"] | int
    learning_rate_multiplier: Literal["auto"] | float


class FineTuningJob(Contract):
    """What follows `user_provided_suffix` is native; see `GET /v1/jobs/{job_id}`, whose status is `native_status`."""

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: OpenAIStatus
    error: JobFailure | None
    model: str
    fine_tuned_model: str | None
    hyperparameters: ToldHyperparameters
    method: dict[str, Any]
    seed: int
    training_file: str
    validation_file: str | None
    result_files: list[str] = []
    trained_tokens: None = None
    integrations: list[Any] = []
    metadata: dict[str, str]
    organization_id: str
    user_provided_suffix: str | None
    kind: str
    native_status: JobStatus
    spec: dict[str, Any]
    resolved: Resolved | None
    progress: JobProgress
    metrics: dict[str, float]
    parent_model_id: str | None
    priority: int
    attempt: int
    queue_position: int | None
    waiting_reason: str | None


class FineTuningEvent(Contract):
    """`data` is native; `native_type` tells its shape."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]
    native_type: EventType


class FineTuningCheckpoint(Contract):
    """`fine_tuned_model_checkpoint` is the model that was made of it or, where none was, a parent that further jobs
    take as their `model`.
    """

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: dict[str, float]
    step_number: int
    is_best: bool
    is_last: bool
    size_bytes: int
    digest: str


def job_of(view: JobView, project_id: str) -> FineTuningJob:
    seed = view.spec["training"]["seed"]
    return FineTuningJob(
        created_at=unix(view.created_at),
        finished_at=None if view.finished_at is None else unix(view.finished_at),
        estimated_finish=_estimated_finish(view),
        status=_STATUS[view.status],
        error=None
        if view.error is None or view.status is not JobStatus.FAILED
        else JobFailure(message=view.error.message, code=view.error.code),
        model=view.parent or "",
        fine_tuned_model=view.model_id,
        hyperparameters=_hyperparameters(view),
        method=view.spec["method"],
        seed=seed,
        training_file=view.dataset_id,
        validation_file=view.validation_dataset_id,
        organization_id=project_id,
        user_provided_suffix=view.name,
        native_status=view.status,
        **{name: getattr(view, name) for name in _SHARED},
    )


def _hyperparameters(view: JobView) -> ToldHyperparameters:
    """What trials decide is `auto` until they have."""
    training, resolved = view.spec["training"], view.resolved
    rate, batch_size, duration = training["optimizer"]["learning_rate"], training["batch_size"], training["duration"]
    if rate == "auto" and resolved is not None:
        rate = resolved.learning_rate or rate
    if batch_size == "auto" and resolved is not None:
        batch_size = resolved.batch_size or batch_size
    return ToldHyperparameters(
        n_epochs="auto" if duration == "auto" else duration["epochs"] or "auto",
        batch_size=batch_size,
        learning_rate_multiplier=rate if rate == "auto" else rate / default_rate(view.kind, view.method),
    )


_SHARED = (
    "id", "metadata", "kind", "spec", "resolved", "progress", "metrics", "parent_model_id", "priority", "attempt",
    "queue_position", "waiting_reason",
)  # fmt: skip


def _estimated_finish(view: JobView) -> int | None:
    """Of a job that runs, once it knows its length."""
    if view.status is not JobStatus.RUNNING or view.progress.eta_seconds is None:
        return None
    return int(time.time() + view.progress.eta_seconds)


def event_of(view: EventView) -> FineTuningEvent:
    return FineTuningEvent(
        id=str(view.id),
        created_at=unix(view.created_at),
        level=_level(view),
        message=_message(view),
        type="metrics" if view.type == "metrics" else "message",
        data=view.data,
        native_type=view.type,
    )


def _level(view: EventView) -> Literal["info", "warn", "error"]:
    told = view.data.get("level")
    if told == "error" or view.data.get("status") == JobStatus.FAILED:
        return "error"
    return "warn" if view.type == "warning" or told == "warning" else "info"


def _message(view: EventView) -> str:
    data = view.data
    match view.type:
        case "status":
            failure = f": {error['message']}" if (error := data.get("error")) else ""
            return f"The job is {data['status']}{failure}"
        case "metrics":
            told = ", ".join(f"{name}={value:.4g}" for name, value in data["values"].items())
            return f"Step {data['step']}: {told}"
        case "checkpoint":
            return f"Checkpoint at step {data['step']}"
        case "log" | "warning":
            return str(data["message"])


def checkpoint_of(view: CheckpointView, job_id: str) -> FineTuningCheckpoint:
    reference = f"{job_id}:step:{view.step}"
    validation = {"valid_loss": loss} if (loss := view.metrics.get("validation_loss")) is not None else {}
    return FineTuningCheckpoint(
        id=reference,
        created_at=unix(view.created_at),
        fine_tuned_model_checkpoint=view.model_id or reference,
        fine_tuning_job_id=job_id,
        metrics={"step": float(view.step), **view.metrics, **validation},
        step_number=view.step,
        is_best=view.is_best,
        is_last=view.is_last,
        size_bytes=view.size_bytes,
        digest=view.digest,
    )


def step_of(checkpoint_id: str | None) -> int | None:
    """Of an id that `checkpoint_of` gave. Raises InvalidRequest for another."""
    if checkpoint_id is None:
        return None
    found = re.fullmatch(r"job_[0-9a-f]{32}:step:([0-9]{1,18})", checkpoint_id)
    if found is None:
        raise bad_cursor(checkpoint_id)
    return int(found[1])
