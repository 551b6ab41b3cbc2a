"""What a user may ask of a language model: the body of `generate`."""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract
from app.contract.parameters import GenerateParameters

MAX_MESSAGES = 1_000


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
