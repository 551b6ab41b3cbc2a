"""JobSpec: what a user asks for. A union on `kind`; each side that trains holds a union on `method.type`."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from app.contract.base import Contract, PlainText
from app.contract.inference import Operation
from app.contract.labels import MAX_LABELS, Label
from app.contract.specs.methods import TRAINING_DEFAULTS, FinetuneMethod, PretrainMethod
from app.contract.specs.strategies import FullStrategy, Strategy
from app.contract.specs.training import DATASET_ID_PATTERN, TrainingOptions
from app.contract.webhooks import Webhook

MetadataKey = Annotated[PlainText, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[PlainText, Field(max_length=512)]
ModelName = Annotated[PlainText, Field(min_length=1, max_length=200, description="A model id or an alias.")]
STEP_PREFIX = "step:"
CHECKPOINT_PATTERN = rf"^(best|last|{STEP_PREFIX}[0-9]{{1,12}})$"


class Resources(Contract):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    processes: Annotated[int, Field(ge=1, le=1)] = 1
    labels: Annotated[
        tuple[Label, ...],
        Field(
            strict=False,
            max_length=MAX_LABELS,
            description="Only a trainer that has all of them runs the job: words such as fast, or zone=eu.",
        ),
    ] = ()
    time_limit_seconds: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None,
        description="The job fails with time_limit, a last checkpoint kept, when it has run for so long: over all "
        "attempts, not counting what it waits. A retry has the whole limit anew.",
    )


class _Job(Contract):
    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None
    dataset: Annotated[str, Field(pattern=DATASET_ID_PATTERN)]
    resources: Resources = Resources()
    priority: Annotated[int, Field(ge=-1_000, le=1_000, description="Of the project's jobs, higher runs first.")] = 0
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = {}
    webhook: Webhook | None = Field(default=None, description="Told of this job, beside the project's webhooks.")


class _Training(_Job):
    training: TrainingOptions = TrainingOptions()

    @model_validator(mode="before")
    @classmethod
    def _fill_method_defaults(cls, data: Any) -> Any:
        return fill_training_defaults(data)


class PretrainSpec(_Training):
    kind: Literal["pretrain"]
    method: PretrainMethod


class FinetuneSpec(_Training):
    kind: Literal["finetune"]
    parent: Annotated[PlainText, Field(min_length=1, max_length=200, description="A job id, a model id or an alias.")]
    method: FinetuneMethod
    checkpoint: Annotated[str, Field(pattern=CHECKPOINT_PATTERN)] | None = Field(
        default=None, description="Which checkpoint of a parent job: best, last or step:N. Default: the job's model."
    )
    strategy: Strategy = FullStrategy()


class BatchPredictOptions(_Job):
    """A model's answers to all records of a data set."""

    operation: Annotated[Operation, Field(strict=False)] | None = Field(
        default=None, description="Default: the first of predict, generate and embed that the model and the data allow."
    )
    parameters: dict[str, Any] = Field(
        default={},
        description="As of the operation. Where a text is generated, record i draws by a seed made of `seed` (default "
        "0) and i.",
    )


class BatchPredictSpec(BatchPredictOptions):
    kind: Literal["batch_predict"]
    model: ModelName


class EvaluateOptions(_Job):
    """How good a model is on a data set: its method's measures, each with an interval."""

    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of what is resampled, hidden or drawn.")] = 0
    resamples: Annotated[int, Field(ge=100, le=10_000, description="Of the units, for intervals and tests.")] = 1_000


class EvaluateSpec(EvaluateOptions):
    kind: Literal["evaluate"]
    model: ModelName


AnySpec = PretrainSpec | FinetuneSpec | BatchPredictSpec | EvaluateSpec
#: Jobs that go over a data set with a model, and make none.
ModelJobSpec = BatchPredictSpec | EvaluateSpec
TRAINING_KINDS = ("pretrain", "finetune")
TrainingSpec = Annotated[PretrainSpec | FinetuneSpec, Field(discriminator="kind")]
training_spec_adapter: TypeAdapter[PretrainSpec | FinetuneSpec] = TypeAdapter(TrainingSpec)
JobSpec = Annotated[AnySpec, Field(discriminator="kind")]
job_spec_adapter: TypeAdapter[AnySpec] = TypeAdapter(JobSpec)


def named_step(checkpoint: str | None) -> int | None:
    """N of a checkpoint that is named `step:N`, else None."""
    if checkpoint is None or not checkpoint.startswith(STEP_PREFIX):
        return None
    return int(checkpoint.removeprefix(STEP_PREFIX))


def fill_training_defaults(data: Any) -> Any:
    """Put the method's own training defaults under what the user gave.

    `optimizer` and `schedule` merge key by key while their `type` agrees; every other field is taken whole.
    Anything malformed is left as it is, for validation to name.
    """
    if not isinstance(data, dict) or not isinstance(method := data.get("method"), dict):
        return data
    defaults = TRAINING_DEFAULTS.get((str(data.get("kind")), str(method.get("type"))))
    given = data.get("training", {})
    if defaults is None or not isinstance(given, dict):
        return data
    return data | {"training": defaults | given | _merged_parts(defaults, given)}


def _merged_parts(defaults: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = {}
    for part in ("optimizer", "schedule"):
        mine, theirs = defaults.get(part, {}), given.get(part)
        if isinstance(theirs, dict):
            same_type = theirs.get("type", mine.get("type")) == mine.get("type")
            merged[part] = (mine if same_type else {}) | theirs
    return merged
