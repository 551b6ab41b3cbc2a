"""A conversation as the tokens of a prompt: in the template that the model was taught, or else as a transcript.

A transcript is plain text, which a language model without a template continues as any other:

    System: You are brief.
    User: Who wrote Hamlet?
    Assistant:

The answer ends where it would let the user speak again.
"""

from collections.abc import Sequence
from typing import Protocol

from tokenizers import Tokenizer

from app.contract.errors import FieldError
from worker.data.chat import SPEAKERS, ChatTemplate, Message, UnfitConversation
from worker.data.tokenizers import begin_token
from worker.serving.errors import InvalidInput


class ChatFormat(Protocol):
    @property
    def stops(self) -> Sequence[str]:
        """What ends an answer beside the end token."""

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """What the assistant is to continue, the begin token included. Raises InvalidInput."""


class Transcript:
    stops: Sequence[str] = (f"\n{SPEAKERS['user']}:",)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """No space at the end: a token begins with it."""
        lines = [f"{SPEAKERS[message['role']]}: {message['content']}\n" for message in messages]
        text = "".join(lines) + f"{SPEAKERS['assistant']}:"
        return [begin_token(self._tokenizer), *self._tokenizer.encode(text, add_special_tokens=False).ids]


class Taught:
    stops: Sequence[str] = ()

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        try:
            text = self._template.rendered(messages, asks=True)
        except UnfitConversation as error:
            message = f"The model's chat template does not take this conversation: {error}"
            raise InvalidInput(message, errors=[FieldError(location="messages", message=message)]) from None
        [encoding] = self._template.encode([text])
        tokens: list[int] = encoding.ids
        return tokens


def chat_format(template: str | None, tokenizer: Tokenizer) -> ChatFormat:
    return Transcript(tokenizer) if template is None else Taught(ChatTemplate(template, tokenizer))
