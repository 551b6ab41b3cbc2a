"""Files that are rows of named columns: .csv, .jsonl, .parquet. Knows no kind of data set.

A table gives the values of the columns asked for, row by row, each with its number: the physical line of a text
file, the row of a Parquet file. What cannot be read goes to the problems, and reading goes on.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NoReturn, Protocol

from app.records.limits import MAX_RECORD_BYTES, MIB
from app.records.lines import Lines
from app.records.parquet import ParquetTable
from app.records.problems import BadValue, Problems, listed, refusal, shown
from app.records.source import Source

Row = tuple[int, Sequence[Any]]


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

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[Row]: ...


class CsvTable:
    """RFC 4180 with a header line; strict: a quote that is not closed or doubled is a problem of its line."""

    unit = "line"
    values_are_text = True

    def __init__(self, source: Source) -> None:
        self._file = source.file

    def columns(self) -> Mapping[str, Any]:
        problems = Problems()
        first_row = next(self._data_rows(problems), None)
        if first_row is None:
            problems.raise_any()
            raise refusal("file", "The file has a header and no records.")
        return dict(zip(self._header, first_row[1], strict=True))

    def numeric_columns(self) -> Sequence[str]:
        """Judged by the first record; a cell that is empty there counts as a number, which the reading then misses."""
        return [name for name, value in self.columns().items() if name and (not value.strip() or _is_number(value))]

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[Row]:
        indices = [self._header.index(name) for name in names]
        for number, row in self._data_rows(problems):
            yield number, [row[index] for index in indices]

    def _data_rows(self, problems: Problems) -> Iterator[tuple[int, list[str]]]:
        width = len(self._header)
        for number, row in islice(self._raw_rows(problems), 1, None):
            if len(row) == width:
                yield number, row
            else:
                problems.add(f"line {number}", f"The record has {len(row)} fields; the header has {width}.")

    def _raw_rows(self, problems: Problems) -> Iterator[tuple[int, list[str]]]:
        """Records with the physical line each starts on; blank lines are skipped."""
        self._file.seek(0)
        csv.field_size_limit(MAX_RECORD_BYTES)
        lines = Lines(self._file)
        reader = csv.reader(lines, strict=True)
        while True:
            number = lines.number + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except BadValue as error:
                problems.add(f"line {lines.number}", error)
            except csv.Error as error:
                problems.add(f"line {number}", _explained(error))
            else:
                if row:
                    yield number, row

    @cached_property
    def _header(self) -> list[str]:
        problems = Problems()
        number, header = next(self._raw_rows(problems), (0, []))
        if problems.errors:
            problems.raise_any()
        _check_header(number, header)
        return header


def _explained(error: csv.Error) -> str:
    reason = str(error)
    if "field larger" in reason:
        return f"A field is longer than {MAX_RECORD_BYTES // MIB} MiB; perhaps a quote is not closed."
    if "unexpected end" in reason:
        return "The quote opened in this record is not closed before the end of the file."
    if "new-line character" in reason:
        return r"Lines must end in \n or \r\n, not in \r alone."
    return f"The record is no valid CSV: {reason}."


def _check_header(number: int, header: Sequence[str]) -> None:
    if not header:
        raise refusal("file", "The file has no header line.")
    location = f"line {number}"
    if repeated := [name for index, name in enumerate(header) if name and name in header[:index]]:
        raise refusal(location, f"The header names {listed(repeated)} twice.")
    if all(_is_number(name) for name in header):
        raise refusal(location, "The first line must name the columns; it holds only numbers.")
    if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
        raise refusal(location, f"Fields must be separated by commas; the header is separated by {other!r}.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class JsonLinesTable:
    """One JSON object a line; blank lines are skipped, NaN and Infinity are refused."""

    unit = "line"
    values_are_text = False

    def __init__(self, source: Source) -> None:
        self._file = source.file

    def columns(self) -> Mapping[str, Any]:
        problems = Problems()
        for _, record in islice(self._records(problems), 1):
            return record
        problems.raise_any()
        raise refusal("file", "The file has no records.")

    def numeric_columns(self) -> Sequence[str]:
        return ()

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[Row]:
        for number, record in self._records(problems):
            try:
                yield number, [record[name] for name in names]
            except KeyError as error:
                problems.add(f"line {number}", f"The record has no {shown(error.args[0])}; it has {listed(record)}.")

    def _records(self, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
        self._file.seek(0)
        lines = Lines(self._file)
        for line in _surviving(lines, lambda error: problems.add(f"line {lines.number}", error)):
            try:
                record = _parsed_object(line)
            except BadValue as error:
                problems.add(f"line {lines.number}", error)
            else:
                if record is not None:
                    yield lines.number, record


def _surviving(lines: Lines, report: Callable[[BadValue], None]) -> Iterator[str]:
    while True:
        try:
            yield next(lines)
        except StopIteration:
            return
        except BadValue as error:
            report(error)


def _parsed_object(line: str) -> dict[str, Any] | None:
    """None for a blank line."""
    if line.isspace():
        return None
    try:
        record = _DECODER.decode(line)
    except json.JSONDecodeError as error:
        raise BadValue(f"The line is no JSON: {error.msg} at column {error.colno}.") from None
    except RecursionError:
        raise BadValue("The JSON is nested too deeply.") from None
    except BadValue:
        raise
    except ValueError:  # an integer of more digits than Python reads
        raise BadValue("The line holds a number of too many digits.") from None
    if not isinstance(record, dict):
        raise BadValue(f"The line must be a JSON object, not {shown(record)}.")
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise BadValue(f"{name} is not JSON: numbers must be finite.")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)

_FORMS: Mapping[str, Callable[[Source], Table]] = {
    ".csv": CsvTable,
    ".jsonl": JsonLinesTable,
    ".parquet": ParquetTable,
}
SUFFIXES: Iterable[str] = tuple(_FORMS)


def open_table(source: Source) -> Table:
    return _FORMS[source.suffix](source)
