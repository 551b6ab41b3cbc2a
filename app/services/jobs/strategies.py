"""Whether a strategy suits the method and the parent that it is asked for with. Every refusal tells what would."""

from app.contract.compatibility import has_new_head
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.linear_layers import kinds, linear_layers, unknown_targets
from app.contract.model_folder import BodyDescription, InputKind
from app.contract.specs.job import FinetuneSpec
from app.contract.specs.strategies import FrozenStrategy, LoraStrategy


def check_strategy(spec: FinetuneSpec, body: BodyDescription, parent_name: str) -> None:
    """Raises InvalidRequest."""
    match spec.strategy:
        case FrozenStrategy() if not has_new_head((spec.kind, spec.method.type)):
            raise _refused(
                f"{spec.method.type} trains all of {parent_name} further and has no new head, so the strategy frozen "
                "would leave nothing to train. Take full, gradual_unfreezing or, of a language model, lora.",
                "strategy.type",
            )
        case LoraStrategy() as strategy:
            _check_adapters(spec, strategy, body, parent_name)


def _check_adapters(spec: FinetuneSpec, strategy: LoraStrategy, body: BodyDescription, parent_name: str) -> None:
    layers = linear_layers(body)
    if not layers:
        raise _refused(
            f"The strategy lora adapts the linear layers of a transformer or an mlp, and {parent_name} is of the "
            f"architecture {body.architecture.type}. Take full, gradual_unfreezing or frozen.",
            "strategy.type",
        )
    if not has_new_head((spec.kind, spec.method.type)) and body.input is not InputKind.TEXT:
        raise _refused(
            f"The strategy lora adapts the body alone, and {parent_name} has a second network beside it, which "
            f"{spec.method.type} is to teach too. Take full or gradual_unfreezing.",
            "strategy.type",
        )
    if strategy.targets != "all_linear" and (unknown := unknown_targets(layers, strategy.targets)):
        raise _refused(
            f"No linear layer of {parent_name} is called {', '.join(unknown)}. There are {', '.join(kinds(layers))}; "
            "leave `targets` out for all of them.",
            "strategy.targets",
        )


def _refused(message: str, location: str) -> InvalidRequest:
    return InvalidRequest(
        message, code=ErrorCode.VALIDATION_FAILED, errors=[FieldError(location=location, message=message)]
    )
