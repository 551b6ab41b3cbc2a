"""What a data set can hold, and what reading it gives. Knows no file type and no HTTP.

Shapes: N examples, F features, K targets, C channels, H height, W width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.contract.errors import FieldError
from app.contract.model_folder import Label

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Our name of a field -> the file's name of its column.
Columns = Mapping[str, str]


class DatasetKind(StrEnum):
    TEXT = "text"
    LABELED_TEXT = "labeled_text"
    SCORED_TEXT = "scored_text"
    TAGGED_TOKENS = "tagged_tokens"
    SEMANTIC_ROLES = "semantic_roles"
    INSTRUCTIONS = "instructions"
    VECTORS = "vectors"
    LABELED_VECTORS = "labeled_vectors"
    SCORED_VECTORS = "scored_vectors"
    IMAGES = "images"
    LABELED_IMAGES = "labeled_images"


@dataclass(frozen=True, slots=True)
class Text:
    """One document of a `text` data set."""

    text: str


@dataclass(frozen=True, slots=True)
class LabeledText:
    text: str
    label: Label


@dataclass(frozen=True, slots=True)
class ScoredText:
    """`target` has one number: a tuple, as the targets of vectors are."""

    text: str
    target: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class TaggedTokens:
    """One tag a token."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SemanticRoles:
    """One proposition: the roles, in BIO, that the tokens play for the predicate at index `predicate`."""

    tokens: tuple[str, ...]
    predicate: int
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """`role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Instruction:
    """A conversation that ends with the assistant; a prompt and its completion are one of two messages."""

    messages: tuple[Message, ...]


Example = Text | LabeledText | ScoredText | TaggedTokens | SemanticRoles | Instruction


@dataclass(frozen=True, slots=True)
class Arrays:
    """inputs: float32 [N, F] or uint8 [N, C, H, W]; labels: N of one type; targets: float32 [N, K]."""

    inputs: "NDArray[np.float32] | NDArray[np.uint8]"
    labels: list[Label] | None = None
    targets: "NDArray[np.float32] | None" = None


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What a whole, valid file holds.

    `columns` names the file's column of each field read. `profile` holds, where they apply: `labels` (count by
    label), `num_labels`, `length` {p50, p95, max} in characters (tokens for tagged data), `num_features`,
    `target_size`, `shape` [C, H, W].
    """

    kind: DatasetKind
    columns: dict[str, str]
    num_examples: int
    profile: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


class InvalidDataset(Exception):
    """The file cannot become a data set. `errors` are the first ones, located (`line 17`); `total` counts all."""

    def __init__(self, errors: Sequence[FieldError], total: int | None = None) -> None:
        self.errors = tuple(errors)
        self.total = len(self.errors) if total is None else total
        first = self.errors[0]
        more = f" (and {self.total - 1:,} more)" if self.total > 1 else ""
        super().__init__(f"{first.location}: {first.message}{more}")
