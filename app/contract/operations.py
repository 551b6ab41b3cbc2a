"""What models answer: by which operations, with which parameters, from which kinds of data; and which judge them."""

from app.contract.base import Contract
from app.contract.compatibility import DATASET_KIND_COVERS, METHOD_TRAITS
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


def is_measured(method: str, *, headless: bool) -> bool:
    """Whether data can tell how good such a model is."""
    return not headless and method != "gan"


def evaluation_kinds(model: ModelDescription) -> frozenset[str]:
    """The kinds of data set that tell how good a model is: those that teach its method. Language models are judged by
    text, and by the answers of conversations. None where nothing is measured."""
    if not is_measured(model.method, headless=model.headless):
        return frozenset()
    if model.method in TEXT_GENERATORS:
        return frozenset({"text", "instructions"})
    wanted = METHOD_TRAITS[model.kind, model.method].dataset_kinds[model.body.input]
    return DATASET_KIND_COVERS.get(wanted, frozenset({wanted}))


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
