"""A file being read: open bytes and the suffix that tells its type. The user's file name is never a path."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from app.records.problems import refusal

SUFFIXES = (".txt", ".jsonl", ".csv", ".parquet", ".npz", ".zip", ".conll", ".conllu")


@dataclass(frozen=True, slots=True)
class Source:
    file: BinaryIO
    suffix: str
    size_bytes: int


@contextmanager
def opened(path: Path, filename: str) -> Iterator[Source]:
    suffix = suffix_of(filename)
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise refusal("file", "The file is empty.")
        yield Source(file, suffix, size_bytes)


def suffix_of(filename: str) -> str:
    """The lower-case suffix of a file type we read. Raises InvalidDataset."""
    suffix = PurePosixPath(filename.replace("\\", "/")).suffix.lower()
    if suffix not in SUFFIXES:
        raise refusal(
            "file", f"The file's name must end in one of {', '.join(SUFFIXES)}; it ends in {suffix or 'none'!r}."
        )
    return suffix
