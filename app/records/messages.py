"""What the api and a validator say to each other: one line of JSON each way."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from app.contract.base import Contract
from app.contract.errors import FieldError

#: The validator's first line: it has imported everything and waits for its request.
READY_LINE = b"ready\n"


class ValidationRequest(Contract):
    """`memory_bytes` is what reading the file may take, beside what the waiting validator has already."""

    path: str
    filename: str
    kind: str | None
    columns: dict[str, str]
    memory_bytes: int


class Valid(Contract):
    """`DatasetReport` on the wire."""

    outcome: Literal["valid"] = "valid"
    kind: str
    columns: dict[str, str]
    num_examples: int
    profile: dict[str, Any]
    warnings: list[str]


class Invalid(Contract):
    outcome: Literal["invalid"] = "invalid"
    errors: list[FieldError]
    total: int


class Unreadable(Contract):
    """The machine's fault: the disk could not be read."""

    outcome: Literal["unreadable"] = "unreadable"
    message: str


Verdict = Annotated[Valid | Invalid | Unreadable, Field(discriminator="outcome")]
verdict_adapter: TypeAdapter[Valid | Invalid | Unreadable] = TypeAdapter(Verdict)
