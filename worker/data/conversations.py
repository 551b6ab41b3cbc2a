"""Conversations as examples: what a model reads, and which of the tokens that follow it is to tell: the assistant's.

Legend: N examples, B batch, T tokens of the longest example of a batch, K tokens to be told in a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.contract.messages import DatasetInput
from app.records import Instruction, read_examples
from worker.data.chat import ChatTemplate, Message, UnfitConversation
from worker.data.examples import DataSet
from worker.data.failures import BadData
from worker.data.order import Indices
from worker.data.splits import content_keys

#: Tokenised at a time: work for all cores, and little to hold.
_CHUNK = 256
_PROMPT_SHARE = 4


@dataclass(frozen=True, slots=True)
class Conversation:
    """tokens: int [T + 1], the begin token first; told: bool [T + 1], which of them the assistant says."""

    tokens: NDArray[Any]
    told: NDArray[np.bool_]

    def within(self, context_length: int) -> "Conversation":
        """What fits into the context: what is said first is forgotten first. An answer that does not fit by itself
        loses its end, and leaves a quarter of the context to what it answers."""
        if len(self.tokens) <= context_length + 1:
            return self
        start = len(self.tokens) - context_length
        last_answer = int(np.flatnonzero(~self.told)[-1]) + 1
        if last_answer < start:
            start = max(1, last_answer - context_length // _PROMPT_SHARE)
        kept = np.r_[0, start : start + context_length]
        return Conversation(self.tokens[kept], self.told[kept])


class ConversationExamples:
    """Conversations one behind the other in two arrays."""

    shape = None

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        sizes = np.array([len(each.tokens) for each in conversations])
        self._ends = np.cumsum(sizes)
        self._lengths = sizes - 1
        self._tokens = np.concatenate([each.tokens for each in conversations])
        self._told = np.concatenate([each.told for each in conversations])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of what is read: all but the last token."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._ends)

    def gather(self, indices: Indices) -> dict[str, Tensor]:
        """-> `tokens` [B, T], padded on the right with 0, and `lengths` [B]; `places` [K] in the flattened batch, and
        the `targets` [K] that come next there. int64 all"""
        lengths = self._lengths[indices]
        tokens = np.zeros((len(indices), lengths.max() + 1), np.int64)
        told = np.zeros(tokens.shape, np.bool_)
        for row, (end, length) in enumerate(zip(self._ends[indices], lengths, strict=True)):
            tokens[row, : length + 1] = self._tokens[end - length - 1 : end]
            told[row, : length + 1] = self._told[end - length - 1 : end]
        arrays = {
            "tokens": tokens[:, :-1].copy(),
            "lengths": lengths,
            "places": np.flatnonzero(told[:, 1:]),
            "targets": tokens[:, 1:][told[:, 1:]],
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class ConversationReader:
    """Reads data sets in one template, for one context."""

    def __init__(self, template: ChatTemplate, context_length: int, log: Callable[[str], None]) -> None:
        self._template = template
        self._context_length = context_length
        self._log = log
        self._dtype = np.uint16 if template.tokenizer.get_vocab_size() <= 1 << 16 else np.uint32

    def read(self, dataset: DatasetInput) -> DataSet:
        """Conversations that begin alike have one key: no answer to a prompt is validated that was taught for the same.

        Raises BadData where the template does not take a conversation.
        """
        conversations: list[Conversation] = []
        keys: list[bytes] = []
        num_cut = 0
        for chunk in _chunks(dataset):
            rendered = [_Rendered.of(messages, self._template, number) for number, messages in chunk]
            for each, whole in zip(rendered, self._tokenised(rendered), strict=True):
                conversations.append(whole.within(self._context_length))
                num_cut += len(conversations[-1].tokens) < len(whole.tokens)
                keys.append(each.prompt.encode())
        self._log(f"Read {len(conversations):,} conversations.")
        if num_cut:
            self._log(
                f"{num_cut:,} of them are longer than the context of {self._context_length:,} tokens: their beginnings "
                "are cut off, and the ends of answers that do not fit by themselves."
            )
        return DataSet(ConversationExamples(conversations), content_keys(keys))

    def _tokenised(self, rendered: Sequence["_Rendered"]) -> Iterator[Conversation]:
        encodings = self._template.encode([each.text for each in rendered])
        for each, encoding in zip(rendered, encodings, strict=True):
            yield Conversation(np.array(encoding.ids, self._dtype), each.told(encoding.offsets))


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A whole conversation as text; `answers`: from where to where the assistant speaks; `prompt`: what comes first."""

    text: str
    answers: Sequence[tuple[int, int]]
    prompt: str

    @classmethod
    def of(cls, messages: Sequence[Message], template: ChatTemplate, number: int) -> "_Rendered":
        try:
            text = template.rendered(messages)
            answers = []
            for place, message in enumerate(messages):
                if message["role"] == "assistant":
                    asked = template.rendered(messages[:place], asks=True)
                    answered = template.rendered(messages[: place + 1])
                    _check_goes_on(asked, answered, text)
                    answers.append((len(asked), len(answered)))
        except UnfitConversation as error:
            raise BadData(f"Conversation {number:,} does not fit the parent's chat template: {error}") from None
        return cls(text, answers, text[: answers[0][0]])

    def told(self, offsets: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
        """offsets: of each token, the characters that it stands for -> whether the assistant says it"""
        starts = np.array(offsets)[:, 0]
        told = np.zeros(len(starts), np.bool_)
        for start, end in self.answers:
            told |= (starts >= start) & (starts < end)
        return told


def _check_goes_on(asked: str, answered: str, text: str) -> None:
    if not (answered.startswith(asked) and text.startswith(answered)):
        raise UnfitConversation("it does not write a conversation as the beginning of its continuation")


def _chunks(dataset: DatasetInput) -> Iterator[list[tuple[int, list[Message]]]]:
    """Conversations, each with its number, from 1."""
    examples = enumerate(read_examples(dataset.path, dataset.filename, dataset.kind, dataset.columns), 1)
    while chunk := list(islice(examples, _CHUNK)):
        yield [(number, _messages(example)) for number, example in chunk]


def _messages(example: Any) -> list[Message]:
    assert isinstance(example, Instruction)
    return [{"role": message.role, "content": message.content} for message in example.messages]
