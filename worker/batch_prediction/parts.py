"""The answers as lines of files: a part for each stretch of records, and at last the whole. Knows no model."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic_core import to_json

from app.contract.parts import PartsFolder, part_name
from worker.batch_prediction.answers import Refusal

_ERROR_KEY = b'"error":'


class Part(NamedTuple):
    """`num_records` have been asked, and `num_errors` of them refused."""

    path: Path
    num_records: int
    num_errors: int


class Parts:
    """Parts in order of their records, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[Part] = []

    @property
    def num_records(self) -> int:
        """Those that are answered, from the first on: the index of the next."""
        return sum(part.num_records for part in self._kept)

    @property
    def num_errors(self) -> int:
        return sum(part.num_errors for part in self._kept)

    def take_next(self) -> Part | None:
        """The part that an earlier attempt made of the next records."""
        path = self._path(self.num_records)
        if not path.exists():
            return None
        self._kept.append(_counted(path))
        return self._kept[-1]

    def add(self, answers: Sequence[Any | Refusal]) -> Part:
        first = self.num_records
        path = self._path(first)
        with path.open("wb") as file:
            for place, answer in enumerate(answers):
                file.write(_line(first + place, answer))
        self._kept.append(Part(path, len(answers), sum(isinstance(answer, Refusal) for answer in answers)))
        return self._kept[-1]

    def join(self, path: Path) -> Path:
        """All parts as one file."""
        with path.open("wb") as whole:
            for part in self._kept:
                with part.path.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        return path

    def _path(self, first: int) -> Path:
        return self._folder / Path(part_name(PartsFolder.PREDICTIONS, first)).name

    def first_error(self) -> str:
        """A line that tells a refusal; there must be one."""
        part = next(part for part in self._kept if part.num_errors)
        with part.path.open("rb") as file:
            return next(line for line in file if _tells_error(line)).decode().strip()


def _line(index: int, answer: Any | Refusal) -> bytes:
    if isinstance(answer, Refusal):
        return to_json({"index": index, "error": answer._asdict()}) + b"\n"
    return to_json({"index": index, "output": answer}) + b"\n"


def _counted(path: Path) -> Part:
    with path.open("rb") as file:
        errors = [_tells_error(line) for line in file]
    return Part(path, len(errors), sum(errors))


def _tells_error(line: bytes) -> bool:
    """By its second key, without reading what may be long."""
    return line[line.index(b",") + 1 :].startswith(_ERROR_KEY)
