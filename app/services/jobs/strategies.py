"""Whether a strategy suits the method and the parent that it is asked for with. Every refusal tells what would."""

from app.contract.compatibility import METHOD_TRAITS
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.specs.job import FinetuneSpec


def check_strategy(spec: FinetuneSpec, parent_name: str) -> None:
    """Raises InvalidRequest."""
    if spec.strategy.type == "frozen" and METHOD_TRAITS[spec.kind, spec.method.type].parent_methods is not None:
        raise _refused(
            f"{spec.method.type} trains all of {parent_name} further and has no new head, so the strategy frozen would "
            "leave nothing to train. Take full or gradual_unfreezing.",
            "strategy.type",
        )


def _refused(message: str, location: str) -> InvalidRequest:
    return InvalidRequest(
        message, code=ErrorCode.VALIDATION_FAILED, errors=[FieldError(location=location, message=message)]
    )
