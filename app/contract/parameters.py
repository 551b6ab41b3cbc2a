"""What a user may set beside the inputs of an operation, so that it can be judged before a model is asked."""

from typing import Annotated

from pydantic import Field

from app.contract.base import Contract

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 200
MAX_LOGPROBS = 20
#: Of one input.
MAX_TEXT_CHARACTERS = 200_000
#: Neighbours of a word, or tokens for a mask.
MAX_TOLD = 100

StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class NoParameters(Contract):
    """There are none to give."""


class GenerateParameters(Contract):
    """Sampling: `repetition_penalty` divides positive logits of tokens that stand in the prompt or in the answer so
    far, and multiplies negative ones; all are divided by `temperature` (0 takes the likeliest token), then cut by
    `top_k` and `top_p`. `logprobs` tells each token's log-probability, and those of so many of the likeliest instead.
    """

    max_tokens: int = Field(default=128, ge=1, le=1_048_576)
    temperature: float = Field(default=1.0, ge=0.0, le=100.0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100.0)
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: StopText | Annotated[tuple[StopText, ...], Field(max_length=MAX_STOPS, strict=False)] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else self.stop


class NeighborParameters(Contract):
    top_k: int = Field(default=10, ge=1, le=MAX_TOLD, description="Words to tell.")


class MaskParameters(Contract):
    top_k: int = Field(default=5, ge=1, le=MAX_TOLD, description="Tokens to tell for each mask.")
