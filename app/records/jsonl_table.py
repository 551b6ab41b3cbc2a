"""JSON lines, strictly read. Knows no kind of data set."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn

from app.records.lines import Lines
from app.records.problems import BadValue, Problems, listed, refusal, shown
from app.records.source import Source


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

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[tuple[int, Sequence[Any]]]:
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
