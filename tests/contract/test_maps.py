"""The maps that a method must be in, against the union that users choose from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest

from app.contract.compatibility import AUGMENTATIONS, GOALS, METHOD_TRAITS, MethodKey, metrics_of
from app.contract.specs.job import PretrainSpec
from app.contract.specs.methods import TRAINING_DEFAULTS, FinetuneMethod, PretrainMethod
from app.contract.specs.tokenizers import TokenizerSpec
from app.contract.specs.training import Augmentation
from tests.contract.cases import CASES, VARIANTS
from worker.methods import BUILDERS
from worker.models.building import MODULES
from worker.serving.predictors import PREDICTORS


def _types(union: Any) -> list[str]:
    members: Iterable[Any] = get_args(get_args(union)[0]) or [get_args(union)[0]]
    return [member.model_fields["type"].default for member in members]


METHODS: set[MethodKey] = {("pretrain", name) for name in _types(PretrainMethod)} | {
    ("finetune", name) for name in _types(FinetuneMethod)
}


def test_the_union_is_read_as_it_stands() -> None:
    assert ("pretrain", "causal_language_model") in METHODS
    assert ("finetune", "classification") in METHODS


def test_every_architecture_and_every_tokenizer_is_in_the_suite(tmp_path: Path) -> None:
    chosen: list[PretrainSpec] = []
    for place, case in enumerate([*CASES.values(), *VARIANTS.values()]):
        spec = case.assignment(tmp_path / str(place)).spec
        chosen += [spec] if isinstance(spec, PretrainSpec) else []
    architectures = {(spec.method.type, spec.method.architecture.type) for spec in chosen}
    tokenizers = {spec.method.tokenizer.type for spec in chosen if hasattr(spec.method, "tokenizer")}

    for method in get_args(get_args(PretrainMethod)[0]):
        offered = method.model_fields["architecture"].annotation
        name = method.model_fields["type"].default
        for architecture in get_args(offered) or [offered]:
            assert (name, architecture.model_fields["type"].default) in architectures
    assert tokenizers == set(_types(TokenizerSpec))


@pytest.mark.parametrize(
    "keys",
    [METHOD_TRAITS, TRAINING_DEFAULTS, BUILDERS, MODULES, PREDICTORS, CASES],
    ids=["traits", "training_defaults", "builders", "modules", "predictors", "contract_cases"],
)
def test_every_method_is_in_every_map(keys: Iterable[MethodKey]) -> None:
    assert set(keys) == METHODS


def test_of_every_metric_it_is_known_what_is_better() -> None:
    assert set(GOALS) == {name for method in METHODS for name in metrics_of(method)}


def test_every_augmentation_fits_some_input_and_some_method() -> None:
    fields = set(Augmentation.model_fields)
    assert set().union(*AUGMENTATIONS.values()) == fields
    assert set().union(*(traits.augmentations for traits in METHOD_TRAITS.values())) == fields
