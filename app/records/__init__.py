"""Data sets as streams of records: validated, and read to train or to ask. numpy, pyarrow and Pillow, never torch.

The libraries are imported by the readers that need them, so that the api imports this package for its types alone.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.records.types import (
    Arrays,
    Columns,
    DatasetKind,
    DatasetReport,
    Example,
    Instruction,
    InvalidDataset,
    LabeledText,
    Message,
    ScoredText,
    SemanticRoles,
    TaggedTokens,
    Text,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Arrays",
    "Columns",
    "DatasetKind",
    "DatasetReport",
    "Example",
    "Instruction",
    "InvalidDataset",
    "LabeledText",
    "Message",
    "ScoredText",
    "SemanticRoles",
    "TaggedTokens",
    "Text",
    "inspect",
    "read_arrays",
    "read_column",
    "read_examples",
    "read_rows",
    "read_text",
]


def inspect(path: Path, filename: str, kind: str | None = None, columns: Columns | None = None) -> DatasetReport:
    """Validate a whole file in constant memory, and profile it.

    `filename` is the user's: only its suffix is used. Raises InvalidDataset.
    """
    report: DatasetReport = import_module("app.records.inspection").inspect(path, filename, kind, columns)
    return report


def read_text(path: Path, filename: str, columns: Columns | None = None) -> Iterator[str]:
    """The documents of a `text` data set. A .txt comes as pieces of at most 1 MiB that concatenate to the whole."""
    texts: Iterator[str] = import_module("app.records.reading").read_text(path, filename, columns)
    return texts


def read_examples(path: Path, filename: str, kind: str, columns: Columns | None = None) -> Iterator[Example]:
    """The examples of a text, token or instruction data set, in file order. Raises InvalidDataset as it meets one."""
    examples: Iterator[Example] = import_module("app.records.reading").read_examples(path, filename, kind, columns)
    return examples


def read_rows(
    path: Path, filename: str, kind: str, columns: Columns | None = None
) -> Iterator["NDArray[np.float32] | NDArray[np.uint8]"]:
    """The inputs of a vectors or images data set, [F] or [C, H, W] each, in file order and constant memory. Raises
    InvalidDataset as it meets one."""
    rows: Iterator[NDArray[Any]] = import_module("app.records.reading").read_rows(path, filename, kind, columns)
    return rows


def read_column(path: Path, filename: str, column: str) -> Iterator[Any]:
    """A column's values as the file has them, record by record: of a .csv as text. Raises InvalidDataset."""
    values: Iterator[Any] = import_module("app.records.reading").read_column(path, filename, column)
    return values


def read_arrays(path: Path, filename: str, kind: str, columns: Columns | None = None) -> Arrays:
    """A vectors or images data set, whole, in memory. Raises InvalidDataset."""
    arrays: Arrays = import_module("app.records.reading").read_arrays(path, filename, kind, columns)
    return arrays
