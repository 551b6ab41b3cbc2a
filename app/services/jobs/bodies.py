"""Which body a job trains, and which data sets teach it: what can be known before anything is read or built.

Every refusal names both sides and what would fit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from app.contract.compatibility import (
    ARCHITECTURE_INPUTS,
    DATASET_KIND_COVERS,
    METHOD_TRAITS,
    dataset_fits,
    fits,
)
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.model_folder import BodyDescription, Granularity, InputKind
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import (
    Autoencoder,
    CausalLanguageModel,
    Classification,
    ContinuedAutoencoder,
    Gan,
    MaskedLanguageModel,
    PretrainRegression,
    Word2Vec,
)
from app.db.tables import DatasetRow


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What decides whether a fine-tune can start from a parent: the method that trained it last, its body, and of an
    autoencoder whether its code is variational."""

    method: str
    body: BodyDescription
    variational: bool = False


def pretrained_body(spec: PretrainSpec, dataset: DatasetRow) -> BodyDescription:
    """The body that a pretraining makes. Raises InvalidRequest where the data set does not teach it."""
    architecture = spec.method.architecture
    wanted = {
        read: kind
        for read, kind in METHOD_TRAITS[spec.kind, spec.method.type].dataset_kinds.items()
        if read in ARCHITECTURE_INPUTS[architecture.type]
    }
    read = next((read for read, kind in wanted.items() if dataset_fits(kind, dataset.kind)), None)
    if read is None:
        doing = f"Pretraining by {spec.method.type} with the architecture {architecture.type}"
        raise _dataset_incompatible(doing, wanted.values(), dataset)
    match spec.method:
        case CausalLanguageModel(tokenizer=tokenizer) | Word2Vec(tokenizer=tokenizer):
            sizes = {"granularity": Granularity.TOKENS, "vocab_size": tokenizer.vocab_size}
        case MaskedLanguageModel(tokenizer=tokenizer):
            sizes = {"granularity": Granularity.TOKENS, "vocab_size": tokenizer.vocab_size, "bidirectional": True}
        case Autoencoder(code_size=code_size):
            sizes = {"granularity": Granularity.EXAMPLE, "code_size": code_size}
        case Gan(noise_size=noise_size):
            sizes = {"granularity": Granularity.EXAMPLE, "code_size": noise_size}
        case PretrainRegression():
            sizes = {"granularity": Granularity.EXAMPLE}
    return BodyDescription.model_validate(
        {"architecture": architecture, "input": read, "input_shape": example_shape(dataset)} | sizes
    )


def check_finetune(spec: FinetuneSpec, parent: Inheritance, parent_name: str, dataset: DatasetRow) -> None:
    """Raises InvalidRequest where the parent does not fit the method, or the data set does not fit both."""
    if not fits((spec.kind, spec.method.type), parent.body, parent.method):
        raise _parent_incompatible(spec, parent, parent_name)
    wanted = METHOD_TRAITS[spec.kind, spec.method.type].dataset_kinds[parent.body.input]
    if not dataset_fits(wanted, dataset.kind):
        doing = f"Fine-tuning by {spec.method.type} from {parent_name}, which reads {_TOLD[parent.body.input]},"
        raise _dataset_incompatible(doing, [wanted], dataset)
    _check_shape(parent.body.input_shape, parent_name, dataset, "dataset")
    if isinstance(spec.method, ContinuedAutoencoder):
        _check_variational(spec.method, parent, parent_name)
    if isinstance(spec.method, Classification):
        _check_pooling(spec.method, parent.body, parent_name)


def check_validation(dataset: DatasetRow, validation: DatasetRow) -> None:
    """Raises InvalidRequest where the two differ in kind or in the shape of an example."""
    location = "training.validation_dataset"
    if not dataset_fits(dataset.kind, validation.kind):
        raise _refused(
            f"The validation data set {validation.id} is of kind {validation.kind}, and the data set {dataset.id} of "
            f"kind {dataset.kind}. Give one of kind {listed(_accepted([dataset.kind]))}.",
            ErrorCode.DATASET_INCOMPATIBLE,
            location,
        )
    _check_shape(example_shape(dataset), f"the data set {dataset.id}", validation, location)


def num_outputs(spec: PretrainSpec | FinetuneSpec, dataset: DatasetRow, parent: Inheritance | None) -> int | None:
    """Labels, targets, or the log-variances of a variational code; None for a method that has no head for them."""
    profile = dataset.profile
    if isinstance(spec.method, Autoencoder):
        return spec.method.code_size if spec.method.variational else None
    match spec.method.type:
        case "autoencoder":
            assert parent is not None
            return parent.body.code_size if parent.variational else None
        case "classification" | "sequence_labeling" | "semantic_role_labeling":
            return len(profile["labels"]) + int(profile.get("uncounted_labels") or 0)
        case "regression":
            return int(profile["target_size"])
        case _:
            return None


def example_shape(dataset: DatasetRow) -> tuple[int, ...] | None:
    """[F] of vectors, [C, H, W] of images; None for text."""
    profile = dataset.profile
    if "num_features" in profile:
        return (int(profile["num_features"]),)
    return tuple(profile["shape"]) if "shape" in profile else None


_TOLD: Mapping[InputKind, str] = {
    InputKind.TEXT: "text",
    InputKind.FEATURES: "vectors of features",
    InputKind.IMAGE: "images",
}
_GIVEN: Mapping[Granularity, str] = {
    Granularity.TOKENS: "a vector for each token",
    Granularity.EXAMPLE: "one vector for an example",
}


def _check_shape(wanted: tuple[int, ...] | None, whose: str, dataset: DatasetRow, location: str) -> None:
    found = example_shape(dataset)
    if wanted is None or found is None or wanted == found:
        return
    raise _refused(
        f"An example of {dataset.id} has {told_shape(found)}; {whose} reads {told_shape(wanted)}. "
        f"Give a data set whose examples have {told_shape(wanted)}.",
        ErrorCode.PARENT_INCOMPATIBLE if location == "dataset" else ErrorCode.DATASET_INCOMPATIBLE,
        location,
    )


def told_shape(shape: tuple[int, ...]) -> str:
    """`4 features`, or `1x8x8 pixels`."""
    return f"{shape[0]} features" if len(shape) == 1 else f"{'x'.join(map(str, shape))} pixels"


def _parent_incompatible(spec: FinetuneSpec, parent: Inheritance, parent_name: str) -> InvalidRequest:
    would_fit = sorted(
        method
        for kind, method in METHOD_TRAITS
        if kind == spec.kind and fits((kind, method), parent.body, parent.method)
    )
    from_this_parent = f"From this parent: {listed(would_fit)}." if would_fit else "No method fits this parent."
    return _refused(
        f"{spec.method.type} cannot start from {parent_name}: that is a model of the method {parent.method}, which "
        f"reads {_TOLD[parent.body.input]} and gives {_GIVEN[parent.body.granularity]}; {spec.method.type} takes "
        f"{_parents_of(spec)}. {from_this_parent}",
        ErrorCode.PARENT_INCOMPATIBLE,
        "parent",
    )


def _parents_of(spec: FinetuneSpec) -> str:
    """`a parent of the method gan`, or what its body must be."""
    traits = METHOD_TRAITS[spec.kind, spec.method.type]
    if traits.parent_methods is not None:
        return f"a parent of the method {listed(sorted(traits.parent_methods))}"
    return (
        f"a parent that reads {listed([_TOLD[read] for read in traits.dataset_kinds])} and gives "
        f"{listed([_GIVEN[granularity] for granularity in sorted(traits.granularities)])}"
    )


def _check_variational(method: ContinuedAutoencoder, parent: Inheritance, parent_name: str) -> None:
    if method.variational is not None and not parent.variational:
        raise _refused(
            f"`variational` is given, and the code of {parent_name} is not variational: that is the parent's. Leave "
            "`variational` out, or start from a variational autoencoder.",
            ErrorCode.VALIDATION_FAILED,
            "method.variational",
        )


def _check_pooling(method: Classification, body: BodyDescription, parent_name: str) -> None:
    told = f"`pooling` is given as {method.pooling}, and {parent_name}"
    if method.pooling is not None and body.granularity is not Granularity.TOKENS:
        reason = f"{told} gives one vector for an example: there is nothing to pool. Leave it out."
    elif method.pooling == "last" and not body.reads_left_to_right:
        reason = f"{told} does not read from left to right: its last token knows no more than another. Leave it out."
    else:
        return
    raise _refused(reason, ErrorCode.VALIDATION_FAILED, "method.pooling")


def _dataset_incompatible(doing: str, wanted: Collection[str], dataset: DatasetRow) -> InvalidRequest:
    return _refused(
        f"{doing} takes a data set of kind {listed(_accepted(wanted))}; {dataset.id} is of kind {dataset.kind}.",
        ErrorCode.DATASET_INCOMPATIBLE,
        "dataset",
    )


def _accepted(kinds: Collection[str]) -> list[str]:
    return sorted(accepted for kind in kinds for accepted in DATASET_KIND_COVERS.get(kind, {kind}))


def listed(names: Collection[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _refused(message: str, code: ErrorCode, location: str) -> InvalidRequest:
    return InvalidRequest(message, code=code, errors=[FieldError(location=location, message=message)])
