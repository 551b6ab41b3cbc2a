"""The messages of a conversation, as OpenAI's client sends them and as models take them."""

from collections.abc import Sequence
from typing import Literal

from app.api.openai.conventions import OpenAIRequest, unsupported
from app.contract.base import Contract

Role = Literal["system", "developer", "user", "assistant"]


class TextPart(Contract):
    type: Literal["text"]
    text: str


class Message(OpenAIRequest):
    role: Role
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def told(messages: Sequence[Message]) -> list[dict[str, str]]:
    for index, message in enumerate(messages):
        if used := [name for name, value in (message.model_extra or {}).items() if value]:
            raise unsupported(f"messages.{index}.{used[0]}", f"{used[0]} of a message is not supported here.")
    return [{"role": message.role, "content": message.text} for message in messages]
