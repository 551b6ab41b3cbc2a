"""What processes say to each other: Celery names, the training process's assignment, and the lines it reports.

A wake-up names a queue and no job: the row is the truth, and a message says only "look".
"""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from app.contract.base import Contract
from app.contract.checkpoint import Environment
from app.contract.errors import JobError
from app.contract.evaluations import EvaluationReport
from app.contract.model_folder import ModelDescription
from app.contract.specs import BatchPredictSpec, EvaluateSpec, TrainingSpec
from app.contract.trials import Trial

WAKE_TASK = "pretune.wake"
CPU_QUEUE = "cpu"
GPU_QUEUE = "gpu"

#: Exit codes of a training process beside 0 (finished) and 1 (crashed).
EXIT_FAILED = 10  # told by a `failed` line
EXIT_STOPPED = 11  # SIGTERM was obeyed: a checkpoint was written

#: 1/3 of 300 is a little more than 100 in floating point.
ROUNDING = 1e-9

LocalPath = Annotated[Path, Field(strict=False)]


class Resolved(Contract):
    """What the first attempt decided for the `auto` fields, and what only the data could tell. Later attempts reuse it.

    `total_steps` is fixed here; `tokens_per_step` is null where the method counts no tokens. `num_trained_parameters`:
    those that learn at some time of the training. `gradient_accumulation_steps`: those asked for, or more where memory
    did not suffice; it alone may change, once. `learning_rate` and `batch_size` are null where the user named a number,
    and while trials are made.
    """

    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    compile: bool
    total_steps: int
    evaluate_every_steps: int
    checkpoint_every_steps: int
    gradient_accumulation_steps: int | None = None
    num_parameters: int
    num_trained_parameters: int | None = None
    num_train_examples: int
    num_validation_examples: int
    tokens_per_step: int | None = None
    vocab_size: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None

    def pause_step(self, pause_at: float | None) -> int | None:
        """The first step with an evaluation at or behind the share `pause_at` of the training; None where that is the
        end."""
        if pause_at is None:
            return None
        every = self.evaluate_every_steps
        step = math.ceil(pause_at * self.total_steps / every - ROUNDING) * every
        return step if step < self.total_steps else None


class DatasetInput(Contract):
    """A data set, already local. `sha256` is the identity that caches are keyed by."""

    path: LocalPath
    filename: str
    kind: str
    columns: dict[str, str]
    sha256: str


class Assignment(Contract):
    """All that a training process gets to train: one JSON line on its stdin. Local paths only.

    `parent_model` is the folder of the parent's model; `resume_from` a verified checkpoint folder of this job.
    `pause_at`: the share of the training behind which the process keeps a checkpoint and ends (`Resolved.pause_step`).
    `output_dir` receives `checkpoints/` and `artifacts/`; `cache_dir` is shared between jobs and may be emptied.
    `trials` have been made by earlier attempts.
    """

    job_id: str
    attempt: int
    spec: TrainingSpec
    dataset: DatasetInput
    validation_dataset: DatasetInput | None = None
    parent_model: LocalPath | None = None
    resume_from: LocalPath | None = None
    resolved: Resolved | None = None
    trials: tuple[Trial, ...] = ()
    pause_at: float | None = None
    output_dir: LocalPath
    cache_dir: LocalPath


class _ModelAssignment(Contract):
    """The same to go over a data set with a model. `parts_dir` holds the verified parts that earlier attempts have
    done, and receives those that follow; it lies in `output_dir`, which receives the whole.
    """

    job_id: str
    attempt: int
    dataset: DatasetInput
    num_records: int
    model: LocalPath
    parts_dir: LocalPath
    output_dir: LocalPath


class PredictionAssignment(_ModelAssignment):
    spec: BatchPredictSpec


class EvaluationAssignment(_ModelAssignment):
    spec: EvaluateSpec
    cache_dir: LocalPath


ModelAssignment = PredictionAssignment | EvaluationAssignment
AnyAssignment = Assignment | ModelAssignment
assignment_adapter: TypeAdapter[AnyAssignment] = TypeAdapter(AnyAssignment)


class ReadyLine(Contract):
    """The process has imported all it needs and waits for its assignment."""

    type: Literal["ready"] = "ready"


class ResolvedLine(Contract):
    """Told once the data are prepared, and again when trials have decided what was left `auto`."""

    type: Literal["resolved"] = "resolved"
    resolved: Resolved
    environment: Environment


class SearchLine(Contract):
    """How far the trials are: `num_done` of at most `num_trials`, and the steps of the one being made."""

    type: Literal["search"] = "search"
    num_done: int
    num_trials: int
    step: int


class TrialLine(Contract):
    """A trial has been made."""

    type: Literal["trial"] = "trial"
    trial: Trial


class MetricsLine(Contract):
    """Values at a step. Rates are over the last interval; both may be null at the first line."""

    type: Literal["metrics"] = "metrics"
    step: int
    values: dict[str, float]
    examples_per_second: float | None = None
    tokens_per_second: float | None = None


class CheckpointLine(Contract):
    """A complete checkpoint folder lies at `path`; its manifest tells the rest."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    path: LocalPath


class ArtifactLine(Contract):
    """A file for the user (a report, a grid of samples) lies at `path`."""

    type: Literal["artifact"] = "artifact"
    name: str
    path: LocalPath
    media_type: str


class LogLine(Contract):
    type: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    message: str


class FinishedLine(Contract):
    """The last line of a run that reached its end. `model_step` is the checkpoint that becomes the job's model."""

    type: Literal["finished"] = "finished"
    step: int
    model_step: int
    model: ModelDescription
    reason: Literal["duration", "early_stopping"]


class PausedLine(Contract):
    """The last line of a run that stands where its assignment says, behind a checkpoint."""

    type: Literal["paused"] = "paused"
    step: int


class PredictedLine(Contract):
    """The last line of a batch prediction that reached its end: its outputs were told as an artifact."""

    type: Literal["predicted"] = "predicted"
    num_records: int
    num_errors: int


class EvaluatedLine(Contract):
    """The last line of an evaluation that reached its end: the report, and what each unit adds to it, were told as
    artifacts too."""

    type: Literal["evaluated"] = "evaluated"
    num_records: int
    report: EvaluationReport


class FailedLine(Contract):
    type: Literal["failed"] = "failed"
    error: JobError


#: Of a run that reached its end.
ResultLine = FinishedLine | PredictedLine | EvaluatedLine
LastLine = ResultLine | PausedLine | FailedLine
ReportLine = Annotated[
    ReadyLine
    | ResolvedLine
    | SearchLine
    | TrialLine
    | MetricsLine
    | CheckpointLine
    | ArtifactLine
    | LogLine
    | FinishedLine
    | PausedLine
    | PredictedLine
    | EvaluatedLine
    | FailedLine,
    Field(discriminator="type"),
]
report_line_adapter: TypeAdapter[ReportLine] = TypeAdapter(ReportLine)
