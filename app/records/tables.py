"""Files that are rows of named columns: .csv, .jsonl, .parquet. Knows no kind of data set.

A table gives the values of the columns asked for, row by row, each with its number: the physical line of a text
file, the row of a Parquet file. What cannot be read goes to the problems, and reading goes on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from app.records.csv_table import CsvTable
from app.records.jsonl_table import JsonLinesTable
from app.records.parquet import ParquetTable
from app.records.problems import Problems
from app.records.source import Source


class Table(Protocol):
    """`unit` names what row numbers count. `values_are_text`: a number must be parsed first (CSV)."""

    @property
    def unit(self) -> str: ...

    @property
    def values_are_text(self) -> bool: ...

    def columns(self) -> Mapping[str, Any]:
        """The file's columns in order, each with its value in the first row."""

    def numeric_columns(self) -> Sequence[str]:
        """The columns that are features where no column holds whole vectors."""

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[tuple[int, Sequence[Any]]]: ...


_FORMS: Mapping[str, Callable[[Source], Table]] = {
    ".csv": CsvTable,
    ".jsonl": JsonLinesTable,
    ".parquet": ParquetTable,
}


def open_table(source: Source) -> Table:
    return _FORMS[source.suffix](source)
