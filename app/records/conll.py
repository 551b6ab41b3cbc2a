"""Sentences of tagged tokens from .conll and .conllu files. Knows nothing of what tags mean.

.conllu has ten named columns (universaldependencies.org/format.html); the tag is UPOS unless `columns` says otherwise.
.conll separates columns by white space: the first is the token and the last the tag, or as `columns` numbers them
from 0. Sentences end with a blank line; row numbers are the line that a sentence begins on.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.records.lines import Lines
from app.records.problems import BadValue, Problems, refusal
from app.records.source import Source

CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


class ConllTable:
    """A table of the columns `tokens` and `tags`."""

    unit = "line"
    values_are_text = False

    def __init__(self, source: Source, columns: Mapping[str, str]) -> None:
        self._file = source.file
        self._universal = source.suffix == ".conllu"
        usual = {"tokens": "form", "tags": "upos"} if self._universal else {"tokens": "0", "tags": "-1"}
        if unknown := set(columns) - set(usual):
            raise refusal(f"columns.{min(unknown)[:60]}", "A tagged file has the fields 'tokens' and 'tags'.")
        self.resolved = usual | dict(columns)
        self._indices = [self._index(f"columns.{ours}", theirs) for ours, theirs in self.resolved.items()]

    def _index(self, location: str, column: str) -> int:
        if self._universal and column in CONLLU_COLUMNS:
            return CONLLU_COLUMNS.index(column)
        if not self._universal and column.removeprefix("-").isdecimal() and len(column) < 4:
            return int(column)
        there = ", ".join(CONLLU_COLUMNS) if self._universal else "numbers from 0, or from the end -1"
        raise refusal(location, f"The file has no column {column!r}; columns are {there}.")

    def rows(self, names: Sequence[str], problems: Problems) -> Iterator[tuple[int, Sequence[Any]]]:
        """Values in the order tokens, tags."""
        for number, sentence in self._sentences(problems):
            yield number, [list(values) for values in zip(*sentence, strict=True)]

    def _sentences(self, problems: Problems) -> Iterator[tuple[int, list[list[str]]]]:
        """A sentence with a bad line is left out whole."""
        self._file.seek(0)
        lines, sentence, begins, broken = Lines(self._file), list[list[str]](), 0, False
        while True:
            try:
                line = next(lines, None)
                if line is None or line.isspace():
                    if sentence and not broken:
                        yield begins, sentence
                    sentence, broken = [], False
                elif values := self._token(line):
                    begins = begins if sentence else lines.number
                    sentence.append(values)
            except BadValue as error:
                problems.add(f"line {lines.number}", error)
                broken = True
                continue
            if line is None:
                return

    def _token(self, line: str) -> list[str] | None:
        """The token and its tag; None for a line that is no token."""
        cells = line.rstrip("\r\n").split("\t") if self._universal else line.split()
        if self._is_remark(line, cells):
            return None
        if self._universal and len(cells) != len(CONLLU_COLUMNS):
            raise BadValue(f"The line has {len(cells)} columns separated by tabs; CoNLL-U has {len(CONLLU_COLUMNS)}.")
        try:
            return [cells[index] for index in self._indices] if len(cells) > 1 else _too_few()
        except IndexError:
            raise BadValue(f"The line has {len(cells)} columns; columns {self._indices} are read.") from None

    def _is_remark(self, line: str, cells: Sequence[str]) -> bool:
        if self._universal:  # comments, words that span several tokens (1-2), empty nodes (1.1)
            return line.startswith("#") or "-" in cells[0] or "." in cells[0]
        return cells[0] == "-DOCSTART-"


def _too_few() -> list[str]:
    raise BadValue("The line must hold a token and its tag.")
