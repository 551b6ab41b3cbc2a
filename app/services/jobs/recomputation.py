"""Whether activations can be computed again in place of being kept: known before anything is built."""

from app.contract.errors import FieldError, InvalidRequest
from app.contract.model_folder import BodyDescription
from app.contract.sizes import has_blocks
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.strategies import FrozenStrategy

LOCATION = "training.activation_checkpointing"


def can_recompute(spec: PretrainSpec | FinetuneSpec, body: BodyDescription) -> bool:
    return has_blocks(body) and not _is_frozen(spec)


def check_recomputation(spec: PretrainSpec | FinetuneSpec, body: BodyDescription) -> None:
    """Raises InvalidRequest where it is asked for and would spare nothing."""
    if not spec.training.activation_checkpointing or can_recompute(spec, body):
        return
    reason = (
        "the strategy frozen keeps no activations of the body, since nothing in it learns"
        if _is_frozen(spec)
        else f"the architecture {body.architecture.type} has no blocks to compute again, as transformer, gpt2 and bert "
        "have"
    )
    message = (
        f"activation_checkpointing is true, and {reason}. Leave it out; a smaller batch_size or more "
        "gradient_accumulation_steps spare memory too."
    )
    raise InvalidRequest(message, errors=[FieldError(location=LOCATION, message=message)])


def _is_frozen(spec: PretrainSpec | FinetuneSpec) -> bool:
    return isinstance(spec, FinetuneSpec) and isinstance(spec.strategy, FrozenStrategy)
