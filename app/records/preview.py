"""The first records of a data set as JSON, in the shape that they were uploaded in; pictures as base64 PNG.

Long texts and vectors are cut, so that a preview stays small whatever the file holds.
"""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any, BinaryIO

from app.records.blocks import Block
from app.records.images import encode_png
from app.records.opening import Stream, open_records
from app.records.problems import FirstProblem
from app.records.source import Source, suffix_of
from app.records.types import Columns, Example, Instruction, ScoredText

MAX_CHARACTERS = 4_000
MAX_ITEMS = 1_000


def preview(file: BinaryIO, filename: str, kind: str, columns: Columns, limit: int) -> list[dict[str, Any]]:
    """At most `limit` records of a validated file, open and seekable."""
    source = Source(file, suffix_of(filename), file.seek(0, 2))
    file.seek(0)
    return [_clipped(record) for record in islice(_records(source, kind, columns), limit)]


def _records(source: Source, kind: str, columns: Columns) -> Iterator[dict[str, Any]]:
    records = open_records(source, kind, columns)
    if isinstance(records, Stream):
        yield {"text": next(records.pieces())}
        return
    for item in records.each(FirstProblem()):
        if isinstance(item, Block):
            yield from _rows(item)
        else:
            yield _example(item)


def _example(example: Example) -> dict[str, Any]:
    if isinstance(example, ScoredText):
        return {"text": example.text, "target": example.target[0]}
    if isinstance(example, Instruction):
        return {"messages": [asdict(message) for message in example.messages]}
    return asdict(example)


def _rows(block: Block) -> Iterator[dict[str, Any]]:
    for row, values in enumerate(block.inputs):
        record: dict[str, Any] = {"features": values.tolist()} if values.ndim == 1 else {"image": _picture(values)}
        if block.labels is not None:
            record["label"] = block.labels[row]
        if block.targets is not None:
            targets = block.targets[row].tolist()
            record["target"] = targets[0] if len(targets) == 1 else targets
        yield record


def _picture(pixels: Any) -> Any:
    """A base64 PNG, or nested lists where PNG knows no such number of channels."""
    return base64.b64encode(encode_png(pixels)).decode() if len(pixels) in {1, 3} else pixels.tolist()


def _clipped(value: Any, key: str = "") -> Any:
    if isinstance(value, str) and key != "image":
        return value if len(value) <= MAX_CHARACTERS else f"{value[:MAX_CHARACTERS]}…"
    if isinstance(value, list | tuple):
        return [_clipped(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {name: _clipped(item, name) for name, item in value.items()}
    return value
