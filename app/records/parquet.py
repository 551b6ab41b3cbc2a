"""Parquet files, a few rows at a time. Knows no kind of data set."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from app.records.problems import BadValue, Problems, refusal
from app.records.source import Source

ROWS_A_BATCH = 512
BUFFER_BYTES = 1 << 20


class ParquetTable:
    """Values keep their types. Row numbers begin at 1."""

    unit = "row"
    values_are_text = False

    def __init__(self, source: Source) -> None:
        with damage_refused():
            self._file = pq.ParquetFile(source.file, buffer_size=BUFFER_BYTES, pre_buffer=False)

    @cached_property
    def schema(self) -> pa.Schema:
        with damage_refused():
            return self._file.schema_arrow

    def columns(self) -> Mapping[str, Any]:
        names = self.schema.names
        if len(set(names)) < len(names):
            raise refusal("file", "Two columns of the file have the same name.")
        problems = Problems()
        for _, values in self.rows(names, problems):
            return dict(zip(names, values, strict=True))
        problems.raise_any()
        raise refusal("file", "The file has no records.")

    def numeric_columns(self) -> list[str]:
        return [field.name for field in self.schema if is_numeric(field.type)]

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[tuple[int, Sequence[Any]]]:
        for start, batch in self.batches(names):
            try:
                columns = [_values(batch.column(name)) for name in names]
            except BadValue as error:
                problems.add(f"rows {start} to {start + batch.num_rows - 1}", error)
            else:
                yield from enumerate(zip(*columns, strict=True), start)

    def batches(self, names: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of rows, each with the number of its first row."""
        start = 1
        with damage_refused():
            batches = self._file.iter_batches(ROWS_A_BATCH, columns=list(names), use_threads=False)
        while True:
            with damage_refused():
                batch = next(batches, None)
            if batch is None:
                return
            yield start, batch
            start += batch.num_rows


def is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _values(column: pa.Array) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raise BadValue("A text is not UTF-8.") from None
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise BadValue(f"A value cannot be read: {error}.") from None
    return values


@contextmanager
def damage_refused() -> Iterator[None]:
    """Arrow tells of damaged files by these; an OSError with an errno is the machine's, not the file's."""
    try:
        yield
    except MemoryError:  # ArrowMemoryError is one too
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise refusal("file", f"The Parquet file is damaged: {_first_line(error)}") from None
    except (pa.ArrowException, ValueError) as error:
        raise refusal("file", f"The Parquet file is damaged: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
