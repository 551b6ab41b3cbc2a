"""What models answer: by which operations, with which parameters, and from which kinds of data set."""

from app.contract.base import Contract
from app.contract.compatibility import DATASET_KIND_COVERS
from app.contract.inference import Operation
from app.contract.model_folder import InputKind, ModelDescription
from app.contract.parameters import GenerateParameters, MaskParameters, NeighborParameters, NoParameters

#: These continue text; a GAN generates too, out of noise.
TEXT_GENERATORS = frozenset({"causal_language_model", "instruction_tuning"})
_TEXTS = frozenset({"text", "labeled_text", "scored_text"})
_PREDICT_PARAMETERS: dict[str, type[Contract]] = {
    "masked_language_model": MaskParameters,
    "word2vec": NeighborParameters,
}


def operations_of(model: ModelDescription) -> tuple[Operation, ...]:
    """In the order in which one is taken where none is asked for."""
    if model.headless:
        return (Operation.EMBED,)
    if model.method == "gan":
        return (Operation.GENERATE, Operation.EMBED)
    if model.method in TEXT_GENERATORS:
        return (Operation.PREDICT, Operation.GENERATE, Operation.EMBED)
    return (Operation.PREDICT, Operation.EMBED)


def parameters_of(operation: Operation, model: ModelDescription) -> type[Contract]:
    """Those of an operation that reads inputs."""
    match operation:
        case Operation.GENERATE:
            return GenerateParameters
        case Operation.PREDICT:
            return _PREDICT_PARAMETERS.get(model.method, NoParameters)
        case Operation.EMBED:
            return NoParameters


def input_kinds(operation: Operation, model: ModelDescription) -> frozenset[str]:
    """The kinds of data set whose records hold inputs of this operation; none where it reads no inputs."""
    match model.body.input:
        case InputKind.FEATURES:
            kinds = DATASET_KIND_COVERS["vectors"]
        case InputKind.IMAGE:
            kinds = DATASET_KIND_COVERS["images"]
        case InputKind.TEXT:
            kinds = _text_kinds(operation, model.method)
    return frozenset() if operation is Operation.GENERATE and model.method == "gan" else kinds


def _text_kinds(operation: Operation, method: str) -> frozenset[str]:
    match operation, method:
        case Operation.PREDICT, "semantic_role_labeling":
            return frozenset({"semantic_roles"})
        case Operation.PREDICT, "sequence_labeling":
            return _TEXTS | {"tagged_tokens", "semantic_roles"}
        case Operation.GENERATE, _:
            return _TEXTS | {"instructions"}
        case _:
            return _TEXTS
