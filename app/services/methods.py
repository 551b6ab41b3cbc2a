"""What can be asked for: every method with its architectures, data and defaults, read off the specs themselves."""

from typing import Any, Literal, get_args

from pydantic import create_model

from app.contract.base import Contract
from app.contract.compatibility import ARCHITECTURE_INPUTS, METHOD_TRAITS, MethodKey, augmentations, metrics_of
from app.contract.errors import NotFound
from app.contract.model_folder import Granularity, InputKind
from app.contract.specs import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import FinetuneMethod, PretrainMethod
from app.contract.specs.training import TrainingOptions

_SPECS: dict[str, type[PretrainSpec | FinetuneSpec]] = {"pretrain": PretrainSpec, "finetune": FinetuneSpec}
METHODS: dict[MethodKey, type[Contract]] = {
    (kind, method.model_fields["type"].default): method
    for kind, union in (("pretrain", PretrainMethod), ("finetune", FinetuneMethod))
    for method in get_args(get_args(union)[0])
}
#: What every job must name, and so has no default.
_PLACEHOLDERS = {"dataset": f"ds_{'0' * 32}", "parent": "parent"}


class ArchitectureView(Contract):
    type: str
    description: str
    inputs: list[InputKind]
    defaults: dict[str, Any]


class ParentsView(Contract):
    """A parent fits if its body reads one of these inputs, at one of these granularities; and if it is of one of these
    methods, where they are given."""

    inputs: list[InputKind]
    granularities: list[Granularity]
    methods: list[str] | None


class MethodView(Contract):
    """`dataset_kinds`: for each input, the kind of data set that teaches the method on it. `defaults`: what a job has
    where its body is silent. `parents` is null for a pretraining, which has none. `augmentations`: for each input, the
    fields of `training.augmentation` that fit. `metrics`: what an evaluation in training measures.
    """

    kind: Literal["pretrain", "finetune"]
    type: str
    description: str
    architectures: list[ArchitectureView]
    dataset_kinds: dict[InputKind, str]
    augmentations: dict[InputKind, list[str]]
    metrics: list[str]
    parents: ParentsView | None
    defaults: dict[str, Any]
    schema_url: str


class MethodList(Contract):
    data: list[MethodView]


def all_methods() -> MethodList:
    return MethodList(data=[_view(key) for key in METHODS])


def schema_of(kind: str, type_: str) -> dict[str, Any]:
    """The JSON Schema of a job's body with that method. Raises NotFound."""
    method = METHODS.get((kind, type_))
    if method is None:
        known = ", ".join(f"{kind}/{type_}" for kind, type_ in METHODS)
        raise NotFound(f"There is no method {kind[:60]}/{type_[:60]}. There are: {known}.")
    spec = create_model(
        f"{kind}_{type_}",
        __base__=_SPECS[kind],
        method=(method, ...),
        training=(TrainingOptions, _example(kind, type_).training),
    )
    return spec.model_json_schema()


def _view(key: MethodKey) -> MethodView:
    kind, type_ = key
    traits, method = METHOD_TRAITS[key], METHODS[key]
    parents = ParentsView(
        inputs=list(traits.dataset_kinds),
        granularities=sorted(traits.granularities),
        methods=None if traits.parent_methods is None else sorted(traits.parent_methods),
    )
    return MethodView(
        kind="finetune" if kind == "finetune" else "pretrain",
        type=type_,
        description=described(method),
        architectures=[_architecture(each) for each in architectures_of(method)],
        dataset_kinds=traits.dataset_kinds,
        augmentations={read: sorted(augmentations(key, read)) for read in traits.dataset_kinds},
        metrics=metrics_of(key),
        parents=parents if kind == "finetune" else None,
        defaults=_example(kind, type_).model_dump(mode="json", exclude={"kind", *_PLACEHOLDERS}),
        schema_url=f"/v1/methods/{kind}/{type_}/schema",
    )


def _example(kind: str, type_: str) -> PretrainSpec | FinetuneSpec:
    """The shortest job there is: all the rest of it is defaults."""
    spec = _SPECS[kind]
    required = {name: value for name, value in _PLACEHOLDERS.items() if name in spec.model_fields}
    return spec.model_validate({"kind": kind, "method": {"type": type_}, **required})


def architectures_of(method: type[Contract]) -> list[type[Contract]]:
    """One class, or a union of them; a fine-tune has its parent's."""
    field = method.model_fields.get("architecture")
    if field is None or field.annotation is None:
        return []
    return list(get_args(field.annotation) or [field.annotation])


def _architecture(architecture: type[Contract]) -> ArchitectureView:
    defaults = architecture().model_dump(mode="json")
    return ArchitectureView(
        type=defaults["type"],
        description=described(architecture),
        inputs=sorted(ARCHITECTURE_INPUTS[defaults["type"]]),
        defaults=defaults,
    )


def described(contract: type[Contract]) -> str:
    return " ".join((contract.__doc__ or "").split())
