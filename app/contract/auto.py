"""The numbers behind `auto`: those that were decided, and until then the method's defaults. Makes no trial."""

import math
from typing import Any

from app.contract.messages import Resolved
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import TRAINING_DEFAULTS
from app.contract.specs.training import Duration, EarlyStopping, TrainingOptions
from app.contract.trials import SearchedField

AnyTraining = PretrainSpec | FinetuneSpec

#: How much longer than the method's default an `auto` duration may become, and how often that default is evaluated.
DURATION_FACTOR = 4
EVALUATIONS_OF_THE_DEFAULT = 10


def settled(spec: AnyTraining, resolved: Resolved | None = None) -> TrainingOptions:
    """The options in numbers: what was decided for `auto`, or else the method's defaults."""
    asked = spec.training
    changes: dict[str, Any] = {}
    if asked.optimizer.learning_rate == "auto":
        rate = (resolved and resolved.learning_rate) or _default_rate(spec)
        changes["optimizer"] = asked.optimizer.model_copy(update={"learning_rate": rate})
    if asked.batch_size == "auto":
        changes["batch_size"] = (resolved and resolved.batch_size) or _default_batch_size(spec)
    if asked.duration == "auto":
        default = _default_duration(spec)
        changes["duration"] = _stretched(default, DURATION_FACTOR)
        changes["early_stopping"] = asked.early_stopping or EarlyStopping()
        changes["evaluate_every"] = asked.evaluate_every or _stretched(default, 1 / EVALUATIONS_OF_THE_DEFAULT)
    return asked.model_copy(update=changes)


def with_values(options: TrainingOptions, learning_rate: float, batch_size: int) -> TrainingOptions:
    optimizer = options.optimizer.model_copy(update={"learning_rate": learning_rate})
    return options.model_copy(update={"optimizer": optimizer, "batch_size": batch_size})


def with_options(spec: AnyTraining, options: TrainingOptions) -> AnyTraining:
    return spec.model_copy(update={"training": options})


def searched_fields(asked: TrainingOptions) -> tuple[SearchedField, ...]:
    """Those that trials decide, in this order."""
    fields: dict[SearchedField, object] = {
        "learning_rate": asked.optimizer.learning_rate,
        "batch_size": asked.batch_size,
    }
    return tuple(name for name, value in fields.items() if value == "auto")


def is_decided(asked: TrainingOptions, resolved: Resolved) -> bool:
    return all(getattr(resolved, field) is not None for field in searched_fields(asked))


def as_decided(resolved: Resolved, asked: TrainingOptions, options: TrainingOptions) -> Resolved:
    """Tells what of `options` was left `auto`, and is now decided."""
    numbers = {"learning_rate": options.optimizer.learning_rate, "batch_size": options.batch_size}
    return resolved.model_copy(update={field: numbers[field] for field in searched_fields(asked)})


def _default_rate(spec: AnyTraining) -> float:
    """The method's, or that of an optimizer which is not the method's."""
    default, own = TRAINING_DEFAULTS[spec.kind, spec.method.type]["optimizer"], spec.training.optimizer
    return float(default["learning_rate"]) if default["type"] == own.type else type(own)().decided_rate


def _default_batch_size(spec: AnyTraining) -> int:
    """In as many parts as were asked for."""
    parts = spec.training.gradient_accumulation_steps
    default: int = TRAINING_DEFAULTS[spec.kind, spec.method.type].get("batch_size", TrainingOptions().batch_size)
    return max(1, default // parts) * parts


def _default_duration(spec: AnyTraining) -> Duration:
    return Duration.model_validate(TRAINING_DEFAULTS[spec.kind, spec.method.type]["duration"])


def _stretched(duration: Duration, factor: float) -> Duration:
    """Steps and tokens are whole."""
    given = duration.model_dump(exclude_none=True)
    [(unit, length)] = given.items()
    return Duration.model_validate({unit: length * factor if unit == "epochs" else math.ceil(length * factor)})
