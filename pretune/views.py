"""What the service answers, typed. A field that a newer service adds is kept too, untyped."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Json = dict[str, Any]
Outputs = list[Json]
Vectors = list[list[float]]
Samples = list[Any]
JobStatus = Literal[
    "waiting", "queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"
]
TERMINAL: frozenset[JobStatus] = frozenset({"succeeded", "failed", "cancelled"})


class View(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


class Ready(View):
    """Each of the stores, and all of them together: `ok` or `error`."""

    status: str
    checks: dict[str, str]


class Version(View):
    version: str


class DatasetView(View):
    """`profile`: what was counted while it was read, by kind: labels, lengths, shapes."""

    id: str
    name: str
    filename: str
    kind: str
    columns: dict[str, str]
    num_examples: int
    size_bytes: int
    sha256: str
    profile: Json
    warnings: tuple[str, ...]
    created_at: datetime


class JobProgress(View):
    """All but `step` is None until the data are prepared; `fraction` is 0..1. In the phase `trials`, before the first
    step, `num_trials_done` of at most `num_trials` have been made for what was left `auto`."""

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


class AutoCandidate(View):
    """A value and its longest trial: `score` is the validation loss at its end, None where it was cut. `curve` is of
    (step, training loss)."""

    value: float
    score: float | None
    steps: int
    stopped_at_step: int
    cut: str | None
    curve: tuple[tuple[int, float], ...]


class AutoDecision(View):
    """`chosen` and `reason` are None until it is decided."""

    candidates: tuple[AutoCandidate, ...]
    chosen: float | None
    reason: str | None
    trial_steps: int


class JobError(View):
    """`fault`: whose it is, `user` or `infrastructure`."""

    code: str
    message: str
    fault: str


class JobView(View):
    """`spec` is what was asked for, defaults filled in; `resolved` is what the first attempt decided, and `auto` tells
    how each number was decided that was left to it."""

    id: str
    kind: str
    method: str
    name: str | None
    status: JobStatus
    spec: Json
    resolved: Json | None
    auto: dict[str, AutoDecision] = {}
    dataset_id: str
    validation_dataset_id: str | None
    parent: str | None
    parent_job_id: str | None
    parent_model_id: str | None
    model_id: str | None
    sweep_id: str | None = None
    trial: int | None = None
    fold: int | None = None
    priority: int
    metadata: Json
    attempt: int
    queue_position: int | None
    waiting_reason: str | None = None
    progress: JobProgress
    metrics: dict[str, float]
    error: JobError | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


class FoldView(View):
    """One job of a trial; `score` and `best_step` are None until the trial is complete."""

    fold: int
    job_id: str
    status: JobStatus
    step: int
    total_steps: int | None
    score: float | None
    best_step: int | None


class TrialView(View):
    """`mean` and `standard_deviation` are over its folds; `rung_scores` by the share of the training."""

    number: int
    parameters: Json
    state: Literal["running", "complete", "pruned", "failed"]
    folds: tuple[FoldView, ...]
    mean: float | None
    standard_deviation: float | None
    rung_scores: dict[str, float]
    step: int
    error: JobError | None
    created_at: datetime
    finished_at: datetime | None


class BestTrial(View):
    number: int
    parameters: Json
    mean: float
    standard_deviation: float | None


class SweepView(View):
    """`reason` says in a sentence where it stands and why. `importance` is of each parameter, by its path."""

    id: str
    name: str | None
    status: Literal["running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]
    spec: Json
    num_trials: int
    trials_by_state: dict[str, int]
    best: BestTrial | None
    importance: dict[str, float] | None
    reason: str
    final_job_id: str | None
    model_id: str | None
    steps: int
    seconds: float
    error: JobError | None
    created_at: datetime
    finished_at: datetime | None
    trials: tuple[TrialView, ...] = ()

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


class Estimate(View):
    """`estimated_seconds` by device, `trial_seconds` of them for trials of what is `auto`; `approximate` names the
    figures that were not computed exactly."""

    spec: Json
    num_parameters: int
    num_trained_parameters: int
    memory_bytes: int
    disk_bytes: int
    total_steps: int
    total_tokens: int | None
    trial_steps: int
    estimated_seconds: dict[str, float]
    trial_seconds: dict[str, float]
    approximate: tuple[str, ...]
    assumptions: dict[str, float]
    warnings: tuple[str, ...]


class EventView(View):
    """One of a job's history: `status`, `metrics`, `log`, `warning`, `checkpoint` and others."""

    id: int
    type: str
    created_at: datetime
    data: Json


class MetricSeries(View):
    """`points` are (step, value), in order of steps."""

    name: str
    points: tuple[tuple[int, float], ...]


class CheckpointView(View):
    step: int
    attempt: int
    metrics: dict[str, float]
    size_bytes: int
    digest: str
    is_best: bool
    is_last: bool
    model_id: str | None
    created_at: datetime


class ArtifactView(View):
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime


class Deletion(View):
    """What deleting would do now. `blocked_by`, in sentences: empty where it can go."""

    freed_bytes: int
    freed_files: int
    blocked_by: tuple[str, ...]
    stays: tuple[str, ...]


class ModelInput(View):
    """`shape` is [F] of features and [C, H, W] of images; `context_length` is in tokens, of text."""

    kind: str
    shape: tuple[int, ...] | None
    context_length: int | None


class ModelView(View):
    id: str
    name: str | None
    kind: str
    method: str
    digest: str
    input: ModelInput
    granularity: str
    architecture: Json
    labels: tuple[str | int, ...] | None
    target_size: int | None
    headless: bool
    num_parameters: int
    size_bytes: int
    metrics: dict[str, float]
    job_id: str | None
    checkpoint_step: int | None
    parent_model_id: str | None
    dataset_id: str | None
    aliases: tuple[str, ...]
    pinned: bool
    loaded_on: tuple[str, ...]
    created_at: datetime


class Figure(View):
    """A measure, and the bounds that 95 % of the figures of resampled units lie within."""

    value: float
    low: float
    high: float


class LabelScores(View):
    """`support`: how often the data have the label; `told`: how often the model does."""

    label: str | int | bool
    precision: Figure
    recall: Figure
    f1: Figure
    support: int
    told: int


class ConfusionMatrix(View):
    """`counts[i][j]`: examples of label i, of which the model told label j."""

    labels: tuple[str | int | bool, ...]
    counts: tuple[tuple[int, ...], ...]


class ReliabilityBin(View):
    """`confidence` and `accuracy` are None of an empty bin."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class EvaluationReport(View):
    """`measures` are in order of importance."""

    method: str
    unit: str
    num_units: int
    seed: int
    resamples: int
    measures: dict[str, Figure]
    higher_is_better: tuple[str, ...]
    labels: tuple[LabelScores, ...] | None
    confusion: ConfusionMatrix | None
    reliability: tuple[ReliabilityBin, ...] | None
    warnings: tuple[str, ...]


class EvaluationSummary(View):
    id: str
    model_id: str
    job_id: str
    dataset_id: str
    method: str
    unit: str
    num_units: int
    measures: dict[str, Figure]
    created_at: datetime


class EvaluationView(EvaluationSummary):
    report: EvaluationReport


class Difference(View):
    """`difference` is `first` less `second`; `better` is None where chance may explain it."""

    first: float
    second: float
    difference: Figure
    p_value: float
    test: str
    better: Literal["first", "second"] | None


class ComparisonView(View):
    """`finding` is a sentence on the first of the measures."""

    first: EvaluationSummary
    second: EvaluationSummary
    unit: str
    num_units: int
    measures: dict[str, Difference]
    finding: str
    warnings: tuple[str, ...]


class Loaded(View):
    """`load_seconds` is 0 where the model was in the replica's memory; `precision`: in which it computes there."""

    model_id: str
    replica_id: str
    load_seconds: float
    precision: str


class UnloadedModel(View):
    """`unloaded_from` lists the replicas that held the model."""

    model_id: str
    unloaded_from: tuple[str, ...]


class GeneratedText(View):
    """`logprobs`, where asked for, tells each token of the answer."""

    text: str
    finish_reason: Literal["stop", "length"]
    num_prompt_tokens: int
    num_tokens: int
    logprobs: tuple[Json, ...] | None = None


class MethodView(View):
    kind: str
    type: str
    description: str
    architectures: tuple[Json, ...]
    dataset_kinds: Json
    augmentations: Json
    metrics: tuple[str, ...]
    parents: Json | None
    defaults: Json
    schema_url: str


class WorkerView(View):
    """`state` is `silent` after three missed heartbeats."""

    id: str
    name: str | None
    role: Literal["trainer", "inference"]
    state: Literal["live", "silent"]
    version: str | None
    queues: tuple[str, ...]
    devices: tuple[str, ...]
    labels: tuple[str, ...] = ()
    jobs: tuple[str, ...]
    num_jobs: int
    num_models: int
    started_at: datetime
    heartbeat_at: datetime


class KeyView(View):
    id: str
    project_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKeyView(KeyView):
    """`key` is told this once; None where an idempotent repetition asks again."""

    key: str | None


class Allowance(View):
    """`limit` is None where there is none."""

    used: int
    limit: int | None


class QuotaView(View):
    project_id: str
    requests_per_second: float | None
    queued_jobs: Allowance
    running_jobs: Allowance
    stored_bytes: Allowance


class WebhookView(View):
    id: str
    job_id: str | None
    url: str
    events: tuple[str, ...]
    created_at: datetime


class DeliveryView(View):
    id: str
    webhook_id: str
    event: str
    payload: Json
    status: str
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    error: str | None
    created_at: datetime
    delivered_at: datetime | None
