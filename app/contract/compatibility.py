"""Which data and which parents each method takes. One table, for the API, the docs and the tests."""

from enum import StrEnum
from typing import Literal

from app.contract.base import Contract
from app.contract.model_folder import BodyDescription, Granularity, InputKind

MethodKey = tuple[str, str]  # (kind, type)


class MethodTraits(Contract):
    """`dataset_kinds` maps the input a body takes to the kind of data set that teaches this method on it.

    A fine-tune takes a parent whose body reads one of these inputs at one of `granularities`; and where it inherits
    more than the body, one that was last trained by one of `parent_methods`. `augmentations` are those fields of
    `training.augmentation` that leave an example's answer true. `metrics` are what an evaluation measures beside the
    loss; `span_f1` only where tags mark spans.
    """

    dataset_kinds: dict[InputKind, str]
    granularities: frozenset[Granularity] = frozenset(Granularity)
    parent_methods: frozenset[str] | None = None
    augmentations: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()


VALIDATION_LOSS = "validation_loss"
Goal = Literal["minimize", "maximize"]
#: What is better of each metric that some method measures.
GOALS: dict[str, Goal] = {
    VALIDATION_LOSS: "minimize",
    "accuracy": "maximize",
    "bits_per_character": "minimize",
    "macro_f1": "maximize",
    "masked_accuracy": "maximize",
    "most_frequent_token_accuracy": "maximize",
    "r2": "maximize",
    "rmse": "minimize",
    "span_f1": "maximize",
}
#: What `training.augmentation` can do to an example, by what that is.
AUGMENTATIONS: dict[InputKind, frozenset[str]] = {
    InputKind.TEXT: frozenset({"token_dropout"}),
    InputKind.FEATURES: frozenset({"mixup_alpha", "noise_std"}),
    InputKind.IMAGE: frozenset({"mixup_alpha", "noise_std", "shift_pixels", "crop_area"}),
}
_ALL_AUGMENTATIONS = frozenset().union(*AUGMENTATIONS.values())
#: An autoencoder answers with what it reads: blends and noise would be learned too. (`denoising` asks for clean ones.)
_MOVEMENTS = frozenset({"shift_pixels", "crop_area"})


_EXAMPLES = {InputKind.FEATURES: "vectors", InputKind.IMAGE: "images"}
_TEXT = {InputKind.TEXT: "text"}
#: Pretraining methods with which a fine-tune goes on from a parent of the same one.
_CONTINUED = {
    "causal_language_model": MethodTraits(dataset_kinds=_TEXT, metrics=frozenset({"bits_per_character"})),
    "masked_language_model": MethodTraits(
        dataset_kinds=_TEXT, metrics=frozenset({"masked_accuracy", "most_frequent_token_accuracy"})
    ),
    "word2vec": MethodTraits(dataset_kinds=_TEXT),
    "autoencoder": MethodTraits(dataset_kinds=_EXAMPLES, augmentations=_MOVEMENTS),
    "gan": MethodTraits(dataset_kinds=_EXAMPLES),
}
_REGRESSION_METRICS = frozenset({"rmse", "r2"})
_TAG_METRICS = frozenset({"accuracy", "span_f1"})

METHOD_TRAITS: dict[MethodKey, MethodTraits] = {
    **{("pretrain", name): traits for name, traits in _CONTINUED.items()},
    ("pretrain", "regression"): MethodTraits(
        dataset_kinds={InputKind.FEATURES: "scored_vectors"},
        augmentations=_ALL_AUGMENTATIONS,
        metrics=_REGRESSION_METRICS,
    ),
    ("finetune", "classification"): MethodTraits(
        dataset_kinds={
            InputKind.TEXT: "labeled_text",
            InputKind.FEATURES: "labeled_vectors",
            InputKind.IMAGE: "labeled_images",
        },
        augmentations=_ALL_AUGMENTATIONS,
        metrics=frozenset({"accuracy", "macro_f1"}),
    ),
    ("finetune", "sequence_labeling"): MethodTraits(
        dataset_kinds={InputKind.TEXT: "tagged_tokens"},
        granularities=frozenset({Granularity.TOKENS}),
        augmentations=_ALL_AUGMENTATIONS,
        metrics=_TAG_METRICS,
    ),
    ("finetune", "semantic_role_labeling"): MethodTraits(
        dataset_kinds={InputKind.TEXT: "semantic_roles"},
        granularities=frozenset({Granularity.TOKENS}),
        augmentations=_ALL_AUGMENTATIONS,
        metrics=_TAG_METRICS,
    ),
    ("finetune", "regression"): MethodTraits(
        dataset_kinds={InputKind.TEXT: "scored_text", InputKind.FEATURES: "scored_vectors"},
        augmentations=_ALL_AUGMENTATIONS,
        metrics=_REGRESSION_METRICS,
    ),
    ("finetune", "instruction_tuning"): MethodTraits(
        dataset_kinds={InputKind.TEXT: "instructions"},
        parent_methods=frozenset({"causal_language_model", "instruction_tuning"}),
    ),
    **{
        ("finetune", name): traits.model_copy(update={"parent_methods": frozenset({name})})
        for name, traits in _CONTINUED.items()
    },
}

#: Architectures read these inputs.
ARCHITECTURE_INPUTS: dict[str, frozenset[InputKind]] = {
    "transformer": frozenset({InputKind.TEXT}),
    "skipgram": frozenset({InputKind.TEXT}),
    "lstm": frozenset({InputKind.TEXT}),
    "rnn": frozenset({InputKind.TEXT}),
    "mlp": frozenset({InputKind.FEATURES, InputKind.IMAGE}),
    "conv": frozenset({InputKind.IMAGE}),
}

#: A data set of one of these kinds can stand in for the other: what it has besides is not read.
DATASET_KIND_COVERS: dict[str, frozenset[str]] = {
    "vectors": frozenset({"vectors", "labeled_vectors", "scored_vectors"}),
    "images": frozenset({"images", "labeled_images"}),
}


class Misfit(StrEnum):
    """What of a parent a fine-tune cannot start from."""

    INPUT = "input"
    GRANULARITY = "granularity"
    METHOD = "method"


def misfit(method: MethodKey, body: BodyDescription, parent_method: str) -> Misfit | None:
    """Why a fine-tune of this method cannot start from a parent with that body, last trained by `parent_method`; None
    where it can."""
    traits = METHOD_TRAITS[method]
    if body.input not in traits.dataset_kinds:
        return Misfit.INPUT
    if body.granularity not in traits.granularities:
        return Misfit.GRANULARITY
    if traits.parent_methods is not None and parent_method not in traits.parent_methods:
        return Misfit.METHOD
    return None


def has_new_head(method: MethodKey) -> bool:
    """Whether a fine-tune of this method puts a head of its own on its parent's body."""
    return METHOD_TRAITS[method].parent_methods is None


def fits(method: MethodKey, body: BodyDescription, parent_method: str) -> bool:
    return misfit(method, body, parent_method) is None


def augmentations(method: MethodKey, read: InputKind) -> frozenset[str]:
    """The fields of `training.augmentation` that a job of this method takes on such examples."""
    return METHOD_TRAITS[method].augmentations & AUGMENTATIONS[read]


def metrics_of(method: MethodKey) -> list[str]:
    return [VALIDATION_LOSS, *sorted(METHOD_TRAITS[method].metrics)]


def dataset_fits(wanted_kind: str, actual_kind: str) -> bool:
    """Whether a data set of `actual_kind` teaches a method that wants `wanted_kind`."""
    return actual_kind in DATASET_KIND_COVERS.get(wanted_kind, frozenset({wanted_kind}))
