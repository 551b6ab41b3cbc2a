"""Validating a whole file in constant memory, and telling what it holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from app.records.opening import Blocks, Examples, Stream, open_records
from app.records.problems import Problems, listed, refusal
from app.records.source import Source, opened
from app.records.summaries import BlockSummary, ExampleSummary
from app.records.types import Columns, DatasetReport


def inspect(path: Path, filename: str, kind: str | None = None, columns: Columns | None = None) -> DatasetReport:
    with opened(path, filename) as source:
        return _inspect(source, kind, columns)


def _inspect(source: Source, kind: str | None, columns: Columns | None) -> DatasetReport:
    records = open_records(source, kind, columns)
    match records:
        case Stream():
            return _inspect_stream(records)
        case Examples():
            return _report(records, ExampleSummary(), records.each)
        case Blocks():
            return _report(records, BlockSummary(), records.each)


def _inspect_stream(records: Stream) -> DatasetReport:
    length, filled = 0, False
    for piece in records.pieces():
        length += len(piece)
        filled = filled or not piece.isspace()
    if not filled:
        raise refusal("file", "The file holds no text.")
    return DatasetReport(records.kind, records.columns, 1, {"length": {"p50": length, "p95": length, "max": length}})


def _report(
    records: Examples | Blocks, summary: ExampleSummary | BlockSummary, each: Callable[[Problems], Iterator[Any]]
) -> DatasetReport:
    problems = Problems()
    for item in each(problems):
        summary.add(item)
    problems.raise_any()
    summary.refuse_nothing()
    unread = [f"Not read: the columns {listed(records.unread)}."] if records.unread else []
    warnings = [*unread, *summary.warnings()]
    return DatasetReport(records.kind, records.columns, summary.num_examples, summary.profile(), warnings)
