"""The messages of a conversation, as OpenAI's client sends them and as models take them."""

from collections.abc import Sequence
from typing import Literal

from app.api.openai.conventions import OpenAIRequest, unsupported

Role = Literal["system", "developer", "user", "assistant"]


class Part(OpenAIRequest):
    """Of a content; texts are taken."""

    type: str
    text: str = ""


class Message(OpenAIRequest):
    role: Role
    content: str | list[Part]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def told(messages: Sequence[Message]) -> list[dict[str, str]]:
    """As our own API takes them. Raises Unsupported where a part is no text."""
    for index, message in enumerate(messages):
        for number, part in enumerate(message.content):
            if isinstance(part, Part) and part.type != "text":
                at = f"messages.{index}.content.{number}"
                raise unsupported(at, f"{at} is a part of the type {part.type!r}: give texts alone.")
    return [{"role": message.role, "content": message.text} for message in messages]
