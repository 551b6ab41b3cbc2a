"""What a spec holds against overfitting, and what it could hold besides."""

from collections.abc import Iterator
from typing import Any

from app.contract.base import Contract
from app.contract.compatibility import METHOD_TRAITS, augmentations, dataset_fits
from app.contract.specs.job import FinetuneSpec, PretrainSpec

#: Fields of a spec that work against overfitting where they are set: the first to think of first, each with a value to
#: begin with.
SUGGESTIONS: dict[str, Any] = {
    "training.augmentation.shift_pixels": 1,
    "training.augmentation.token_dropout": 0.1,
    "training.augmentation.mixup_alpha": 0.2,
    "training.augmentation.noise_std": 0.1,
    "training.augmentation.crop_area": 0.7,
    "method.architecture.dropout": 0.2,
    "training.optimizer.weight_decay": 0.1,
    "strategy.type": "gradual_unfreezing",
    "method.label_smoothing": 0.1,
    "training.weight_average": {"decay": 0.99},
}
#: Remedies that are never the first advice.
_OTHERS = (
    "strategy.layer_learning_rate_decay",
    "method.dropout",
    "method.denoising",
    "method.class_weights",
    "method.sampling",
    "training.early_stopping",
)
#: What a field holds where it changes nothing, beside what is false.
_NEUTRAL: dict[str, Any] = {"strategy.type": "full", "strategy.layer_learning_rate_decay": 1.0}
_ADVISED = 2


class Remedy(Contract):
    """A field of the spec that works against overfitting, and its value."""

    field: str
    value: Any


def advice(spec: PretrainSpec | FinetuneSpec, dataset_kind: str) -> str:
    """What to do about a job that overfits."""
    set_already = {remedy.field for remedy in in_force(spec)}
    possible = {*_possible(spec, dataset_kind)}
    untried = [field for field in SUGGESTIONS if field in possible and field not in set_already][:_ADVISED]
    stopping = "" if "training.early_stopping" in set_already else " training.early_stopping spares the steps in vain."
    if not untried:
        return f"All remedies that fit are in force: give more data, or a smaller model.{stopping}"
    sets = " or ".join(f"{field} to {told(SUGGESTIONS[field])}" for field in untried)
    return f"Set, say, {sets}, or give more data.{stopping}"


def in_force(spec: PretrainSpec | FinetuneSpec) -> Iterator[Remedy]:
    fields = spec.model_dump(mode="json")
    for field in (*SUGGESTIONS, *_OTHERS):
        value = _value(fields, field)
        if value and value != _NEUTRAL.get(field):
            yield Remedy(field=field, value=value)


def _possible(spec: PretrainSpec | FinetuneSpec, dataset_kind: str) -> Iterator[str]:
    """Of SUGGESTIONS, the fields that this job could have."""
    method = (spec.kind, spec.method.type)
    for read, kind in METHOD_TRAITS[method].dataset_kinds.items():
        if dataset_fits(kind, dataset_kind):
            yield from (f"training.augmentation.{name}" for name in augmentations(method, read))
    fields = spec.model_dump(mode="json")
    yield from (field for field in SUGGESTIONS if "augmentation" not in field and _has(fields, field))


def _has(fields: dict[str, Any], field: str) -> bool:
    *path, name = field.split(".")
    holder = _value(fields, ".".join(path))
    return isinstance(holder, dict) and name in holder


def _value(fields: dict[str, Any], field: str) -> Any:
    """None where the spec has no such field."""
    value: Any = fields
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def told(value: Any) -> str:
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)
