"""A conversation as plain text, for language models that have learned no chat template of their own.

    System: You are brief.
    User: Who wrote Hamlet?
    Assistant:

The model continues it as any text. Its answer ends where it would let the user speak again.
"""

from collections.abc import Sequence
from typing import Literal

from app.api.openai.conventions import OpenAIRequest, unsupported
from app.contract.base import Contract

Role = Literal["system", "developer", "user", "assistant"]

_SPEAKERS: dict[Role, str] = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
STOP = f"\n{_SPEAKERS['user']}:"


class TextPart(Contract):
    type: Literal["text"]
    text: str


class Message(OpenAIRequest):
    role: Role
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


def transcript(messages: Sequence[Message]) -> str:
    """What the assistant is to continue; no space at the end, since a token begins with it."""
    for index, message in enumerate(messages):
        if used := [name for name, value in (message.model_extra or {}).items() if value]:
            raise unsupported(f"messages.{index}.{used[0]}", f"{used[0]} of a message is not supported here.")
    lines = [f"{_SPEAKERS[message.role]}: {message.text}\n" for message in messages]
    return "".join(lines) + f"{_SPEAKERS['assistant']}:"
