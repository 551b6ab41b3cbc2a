"""What a user may ask of a language model: the body of `generate`."""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 200
MAX_MESSAGES = 1_000

StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class GenerateParameters(Contract):
    """Sampling: logits are divided by `temperature` (0 takes the likeliest token), then cut by `top_k` and `top_p`."""

    max_tokens: int = Field(default=128, ge=1, le=1_048_576)
    temperature: float = Field(default=1.0, ge=0.0, le=100.0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stop: StopText | Annotated[tuple[StopText, ...], Field(max_length=MAX_STOPS, strict=False)] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else self.stop


class ChatMessage(Contract):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class GenerateBody(Contract):
    """A text to be continued, or a conversation to be answered: one of both."""

    prompt: str | None = None
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=MAX_MESSAGES, strict=False)] | None = (
        None
    )
    parameters: GenerateParameters = GenerateParameters()
    stream: bool = False
