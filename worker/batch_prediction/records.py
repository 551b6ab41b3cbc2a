"""The records of a data set as a model's inputs, each as a user would send it. What a label tells is not read."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from app.contract.inference import Operation
from app.contract.messages import DatasetInput
from app.records import (
    Example,
    Instruction,
    LabeledText,
    Message,
    ScoredText,
    SemanticRoles,
    TaggedTokens,
    Text,
    read_examples,
    read_rows,
)

_ROWS = ("vectors", "images")
#: In lists, whose numbers are objects.
_BYTES_PER_NUMBER = 32


class Record(NamedTuple):
    """`size_bytes` is roughly what the input takes in memory."""

    input: Any
    size_bytes: int


def records_of(dataset: DatasetInput, operation: Operation, method: str) -> Iterator[Record]:
    """In file order, in constant memory. `method` is that of the model which is asked."""
    source = (dataset.path, dataset.filename, dataset.kind, dataset.columns)
    if dataset.kind.endswith(_ROWS):
        for row in read_rows(*source):
            yield Record(row.tolist(), row.size * _BYTES_PER_NUMBER)
    else:
        for example in read_examples(*source):
            yield _record(example, operation, method)


def _record(example: Example, operation: Operation, method: str) -> Record:
    match example:
        case Text(text=text) | LabeledText(text=text) | ScoredText(text=text):
            return Record({"prompt": text} if operation is Operation.GENERATE else text, len(text))
        case TaggedTokens(tokens=tokens):
            return Record({"tokens": [*tokens]}, _size(tokens))
        case SemanticRoles(tokens=tokens, predicate=predicate):
            asked = {"predicate": predicate} if method == "semantic_role_labeling" else {}
            return Record({"tokens": [*tokens], **asked}, _size(tokens))
        case Instruction(messages=messages):
            return _conversation(messages[:-1])


def _conversation(messages: Sequence[Message]) -> Record:
    """Up to the answer that the data give: the model is to give its own."""
    told = [{"role": message.role, "content": message.content} for message in messages]
    return Record({"messages": told}, _size([message.content for message in messages]))


def _size(texts: Sequence[str]) -> int:
    return sum(map(len, texts)) + _BYTES_PER_NUMBER * len(texts)
