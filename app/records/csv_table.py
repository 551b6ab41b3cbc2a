"""CSV files, row by row with physical line numbers. Knows no kind of data set."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from app.records.limits import MAX_RECORD_BYTES, MIB
from app.records.lines import Lines
from app.records.problems import BadValue, Problems, listed, refusal
from app.records.source import Source


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

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[tuple[int, Sequence[Any]]]:
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
