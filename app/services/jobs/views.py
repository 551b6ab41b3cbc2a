"""A job as its user sees it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.contract.base import Contract
from app.contract.errors import JobError
from app.contract.job import JobStatus
from app.contract.messages import Resolved
from app.db.tables import JobRow
from app.services.jobs.auto import AutoDecision, decisions


class JobProgress(Contract):
    """`total_steps`, `fraction` and `eta_seconds` are null until the data are prepared. Rates are over the last
    interval between two reports; tokens are counted where the method reads text. In the phase `trials`, before the
    first step, `num_trials_done` of at most `num_trials` have been made for what was left `auto`; before, it is null.
    """

    phase: Literal["trials", "training"] | None = None
    step: int = 0
    total_steps: int | None = None
    fraction: float | None = None
    tokens_per_second: float | None = None
    examples_per_second: float | None = None
    steps_per_second: float | None = None
    eta_seconds: float | None = None
    num_trials_done: int | None = None
    num_trials: int | None = None


class JobView(Contract):
    """`spec` is what was asked for, every default filled in; `resolved` what the first attempt decided for the fields
    left `auto`, and what only the data could tell. `parent` is what the user named; `parent_model_id` the model that it
    was when the job first started, or of a batch prediction or an evaluation when it was asked for: `method` is that
    model's, and a step a record. A job of a sweep is one `fold` of a `trial`, both from 0, and has no model until one
    is asked for: promote one of its checkpoints. `attempt` counts starts. `queue_position` is 1 for the job that starts
    next, and null for one that is not queued. `waiting_reason` tells what a queued one asks for and no live trainer
    has. `error` tells why a job failed, or what holds a queued one back until it is mended.
    """

    id: str
    kind: str
    method: str
    name: str | None
    status: Annotated[JobStatus, Field(strict=False)]
    spec: dict[str, Any]
    resolved: Resolved | None
    auto: dict[str, AutoDecision] = Field(
        description="How each number was decided that was left auto: learning_rate, batch_size, duration."
    )
    dataset_id: str
    validation_dataset_id: str | None
    parent: str | None
    parent_job_id: str | None
    parent_model_id: str | None
    model_id: str | None
    sweep_id: str | None
    trial: int | None
    fold: int | None
    priority: int
    metadata: dict[str, str]
    attempt: int
    queue_position: int | None
    waiting_reason: str | None
    progress: JobProgress
    metrics: dict[str, float] = Field(description="The latest value of each metric.")
    error: JobError | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class JobPage(Contract):
    data: list[JobView]
    next_cursor: str | None


def view_of(row: JobRow, queue_position: int | None = None, waiting_reason: str | None = None) -> JobView:
    return JobView.model_validate(
        {name: getattr(row, name) for name in _PLAIN}
        | {
            "resolved": row.resolved and Resolved.model_validate(row.resolved),
            "auto": decisions(row),
            "parent": row.parent_ref,
            "metadata": row.job_metadata,
            "queue_position": queue_position,
            "waiting_reason": waiting_reason,
            "progress": JobProgress.model_validate(row.progress),
            "error": row.error and JobError.model_validate(row.error, strict=False),
        }
    )


#: The fields that are columns.
_PLAIN = set(JobView.model_fields) & set(JobRow.__table__.columns.keys()) - {"resolved", "progress", "error"}
