"""Several questions to one model in one message, and their answers: what a replica's `POST /questions` takes and gives.

A frame is a head in JSON behind its length, and the users' bodies as they came. The answers come as each is there, in
whatever order, as records.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError
from pydantic_core import to_json

from app.contract.base import Contract
from app.contract.inference import ModelReference, Operation

_LENGTH = Struct(">I")
#: Which question, the HTTP status, after how many seconds to come back (0: not told), the length of what follows.
_RECORD = Struct(">IHII")


class FrameHead(Contract):
    """`sizes` are those of the bodies that follow; `traces` their requests' trace contexts, null where none is kept."""

    model: ModelReference
    operation: Annotated[Operation, Field(strict=False)]
    sizes: Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
    traces: Annotated[tuple[str | None, ...], Field(strict=False)]


class Question(NamedTuple):
    body: bytes
    trace: str | None


class Answer(NamedTuple):
    """To question `number`, from 0: `content` is the user's answer, or the body of a refusal."""

    number: int
    status: int
    retry_after_seconds: int
    content: bytes


def pack_questions(model_json: bytes, operation: Operation, questions: Sequence[Question]) -> bytes:
    """`model_json` is a ModelReference."""
    told = to_json({"sizes": [len(body) for body, _ in questions], "traces": [trace for _, trace in questions]})
    head = b'{"model":%b,"operation":"%b",%b' % (model_json, operation.encode(), told[1:])
    return b"".join((_LENGTH.pack(len(head)), head, *(body for body, _ in questions)))


def unpack_questions(frame: bytes) -> tuple[FrameHead, list[bytes]]:
    """Raises ValueError where it is no frame."""
    if len(frame) < _LENGTH.size:
        raise ValueError("it is shorter than the length of its head")
    (length,) = _LENGTH.unpack_from(frame)
    begin = _LENGTH.size + length
    try:
        head = FrameHead.model_validate_json(frame[_LENGTH.size : begin])
    except ValidationError as error:
        raise ValueError(f"its head is none: {error.errors()[0]['msg']}") from None
    if min(head.sizes) < 0 or begin + sum(head.sizes) != len(frame) or len(head.traces) != len(head.sizes):
        raise ValueError("its bodies are not those that it tells")
    return head, list(_cut(frame, begin, head.sizes))


def pack_answer(answer: Answer) -> bytes:
    return _RECORD.pack(answer.number, answer.status, answer.retry_after_seconds, len(answer.content)) + answer.content


class AnswerReader:
    """Takes the records out of a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, piece: bytes) -> list[Answer]:
        """The answers that are whole now."""
        answers: list[Answer] = []
        data, begin = self._rest + piece, 0
        while begin + _RECORD.size <= len(data):
            number, status, retry_after_seconds, length = _RECORD.unpack_from(data, begin)
            end = begin + _RECORD.size + length
            if end > len(data):
                break
            answers.append(Answer(number, status, retry_after_seconds, data[begin + _RECORD.size : end]))
            begin = end
        self._rest = data[begin:]
        return answers


def _cut(frame: bytes, begin: int, sizes: Sequence[int]) -> Iterator[bytes]:
    for size in sizes:
        yield frame[begin : begin + size]
        begin += size
