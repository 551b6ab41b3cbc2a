"""Reading for training: the files were valid once, so the first problem ends the reading."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from app.records.blocks import joined
from app.records.kinds import TABLES
from app.records.opening import Blocks, Examples, Stream, open_records
from app.records.problems import FirstProblem, listed, refusal, shown
from app.records.source import opened
from app.records.tables import open_table
from app.records.types import Arrays, Columns, DatasetKind, Example, Text


def read_text(path: Path, filename: str, columns: Columns | None) -> Iterator[str]:
    with opened(path, filename) as source:
        records = open_records(source, DatasetKind.TEXT, columns)
        if isinstance(records, Stream):
            yield from records.pieces()
        elif isinstance(records, Examples):
            for example in records.each(FirstProblem()):
                assert isinstance(example, Text)
                yield example.text


def read_examples(path: Path, filename: str, kind: str, columns: Columns | None) -> Iterator[Example]:
    with opened(path, filename) as source:
        records = open_records(source, kind, columns)
        assert not isinstance(records, Blocks), f"{kind} is read by read_arrays"
        if isinstance(records, Stream):
            yield Text("".join(records.pieces()))
        else:
            yield from records.each(FirstProblem())


def read_rows(path: Path, filename: str, kind: str, columns: Columns | None) -> Iterator[NDArray[Any]]:
    with opened(path, filename) as source:
        records = open_records(source, kind, columns)
        assert isinstance(records, Blocks), f"{kind} is read by read_examples"
        for block in records.each(FirstProblem()):
            yield from block.inputs


def read_column(path: Path, filename: str, column: str) -> Iterator[Any]:
    with opened(path, filename) as source:
        if source.suffix not in TABLES:
            raise refusal(column, f"A {source.suffix} has no columns to group records by; {' and '.join(TABLES)} have.")
        table = open_table(source)
        there = table.columns()
        if column not in there:
            raise refusal(column, f"The file has no column {shown(column)}; it has {listed(there)}.")
        for _, (value,) in table.rows([column], FirstProblem()):
            yield value


def read_arrays(path: Path, filename: str, kind: str, columns: Columns | None) -> Arrays:
    with opened(path, filename) as source:
        records = open_records(source, kind, columns)
        assert isinstance(records, Blocks), f"{kind} is read by read_examples"
        inputs, labels, targets = joined(records.each(FirstProblem()))
    if inputs is None:
        raise refusal("file", "The file has no records.")
    return Arrays(inputs, labels, targets)
