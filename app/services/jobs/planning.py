"""What a training comes to: every check that needs no data and no step, and the sizes that follow. Writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.contract import sizes
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.model_folder import BodyDescription, InputKind
from app.contract.search import largest_batch
from app.contract.specs.architectures import TextArchitecture
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import Classification, SequenceLabeling
from app.contract.specs.strategies import GradualUnfreezingStrategy, Strategy
from app.contract.specs.training import Auto, Duration, TrainingOptions
from app.db.tables import DatasetRow
from app.services.jobs.augmentation import check_augmentation
from app.services.jobs.auto import check_auto
from app.services.jobs.bodies import check_finetune, check_validation, num_outputs, pretrained_body
from app.services.jobs.datasets import find_dataset
from app.services.jobs.folds import check_fold
from app.services.jobs.parents import Parent, find_parent
from app.services.jobs.recomputation import can_recompute, check_recomputation
from app.services.jobs.strategies import check_strategy
from app.services.webhooks import check_address
from app.settings import GIB, Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """A job that could run."""

    spec: PretrainSpec | FinetuneSpec
    dataset: DatasetRow
    parent: Parent | None
    body: BodyDescription
    num_outputs: int | None
    num_parameters: int
    num_trained_parameters: int
    memory_bytes: int

    @property
    def strategy(self) -> Strategy:
        return _strategy(self.spec)


def plan(session: Session, project_id: str, spec: PretrainSpec | FinetuneSpec, settings: Settings) -> Plan:
    """Raises InvalidRequest, naming the field, the value and the remedy. What the job will need, its data sets and its
    parent, is held against deletion until the transaction ends."""
    dataset = find_dataset(session, project_id, spec.dataset, "dataset")
    parent = None
    if isinstance(spec, FinetuneSpec):
        parent = find_parent(session, project_id, spec)
        check_finetune(spec, parent.inheritance, parent.name, dataset)
        body = parent.inheritance.body
        check_strategy(spec, body, parent.name)
    else:
        body = pretrained_body(spec, dataset)
    if validation_id := spec.training.validation_dataset:
        check_validation(dataset, find_dataset(session, project_id, validation_id, "training.validation_dataset"))
    if spec.webhook is not None:
        check_address(spec.webhook, settings, "webhook.url")
    check_fold(spec, dataset)
    _check_durations(spec, body)
    check_auto(spec)
    check_augmentation(spec, body)
    check_recomputation(spec, body)
    return _sized(spec, dataset, parent, body, settings)


def _check_durations(spec: PretrainSpec | FinetuneSpec, body: BodyDescription) -> None:
    if body.input is InputKind.TEXT:
        return
    for location, duration in _durations(spec):
        if isinstance(duration, Duration) and duration.tokens is not None:
            raise _refused(
                f"{location.split('.')[-1]} is given as {duration.tokens} tokens, and {spec.method.type} on "
                f"{body.input} examples counts none. Give it in steps or epochs.",
                f"{location}.tokens",
            )


def _durations(spec: PretrainSpec | FinetuneSpec) -> Iterator[tuple[str, Duration | Auto | None]]:
    for name in ("duration", "evaluate_every", "checkpoint_every"):
        yield f"training.{name}", getattr(spec.training, name)
    if isinstance(spec, FinetuneSpec) and isinstance(spec.strategy, GradualUnfreezingStrategy):
        yield "strategy.unfreeze_every", spec.strategy.unfreeze_every


def _sized(
    spec: PretrainSpec | FinetuneSpec,
    dataset: DatasetRow,
    parent: Parent | None,
    body: BodyDescription,
    settings: Settings,
) -> Plan:
    outputs = num_outputs(spec, dataset, parent.inheritance if parent else None)
    method = (spec.kind, spec.method.type)
    has_crf = isinstance(spec.method, SequenceLabeling) and spec.method.crf
    pooling = spec.method.pooling if isinstance(spec.method, Classification) else None
    parameters = sizes.num_parameters(method, body, outputs, crf=has_crf, pooling=pooling)
    if parameters > settings.max_parameters:
        raise _too_large(
            f"The model would have {parameters:,} parameters; the limit is {settings.max_parameters:,}. "
            "Make the architecture smaller.",
            "method.architecture",
        )
    strategy = _strategy(spec)
    training = largest_batch(spec)
    memory = sizes.memory_bytes(method, body, outputs, training, longest_example(body), strategy=strategy)
    if memory > settings.max_training_bytes:
        raise _too_large(
            f"A step would take {memory / GIB:,.0f} GiB of memory; the limit is "
            f"{settings.max_training_bytes / GIB:,.0f} GiB. Make the batch of {_told_batch(spec, training)} smaller, "
            f"cut it into more parts by gradient_accumulation_steps, {_recomputing(spec, body)}or make the "
            "architecture smaller.",
            "training.batch_size",
        )
    trained = sizes.num_trained_parameters(method, body, outputs, strategy=strategy, crf=has_crf, pooling=pooling)
    return Plan(spec, dataset, parent, body, outputs, parameters, trained, memory)


def _recomputing(spec: PretrainSpec | FinetuneSpec, body: BodyDescription) -> str:
    is_left = can_recompute(spec, body) and not spec.training.activation_checkpointing
    return "set activation_checkpointing, " if is_left else ""


def _told_batch(spec: PretrainSpec | FinetuneSpec, training: TrainingOptions) -> str:
    size = f"{training.decided_batch_size}"
    return f"up to {size}, which `auto` may try," if spec.training.batch_size == "auto" else size


def _strategy(spec: PretrainSpec | FinetuneSpec) -> Strategy:
    return spec.strategy if isinstance(spec, FinetuneSpec) else sizes.WHOLE


def longest_example(body: BodyDescription) -> int:
    """In tokens; 1 where examples are not text."""
    shape = body.architecture
    return shape.context_length if isinstance(shape, TextArchitecture) else 1


def _too_large(message: str, location: str) -> InvalidRequest:
    return _refused(message, location, ErrorCode.TOO_LARGE)


def _refused(message: str, location: str, code: ErrorCode = ErrorCode.VALIDATION_FAILED) -> InvalidRequest:
    return InvalidRequest(message, code=code, errors=[FieldError(location=location, message=message)])
