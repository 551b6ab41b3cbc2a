"""From an open file to its records: which kind it holds, and the stream of them. Everything else reads through here.

Raises InvalidDataset where the file or the request makes reading senseless; single bad records go to the problems.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.records import kinds
from app.records.blocks import Block
from app.records.conll import ConllTable
from app.records.examples import decoder
from app.records.lines import pieces
from app.records.npz import open_npz
from app.records.npz_arrays import NpzArrays, npz_columns
from app.records.problems import BadValue, Problems, listed, refusal
from app.records.source import Source
from app.records.tables import Table, open_table
from app.records.types import Columns, DatasetKind, Example
from app.records.vector_tables import VectorTable
from app.records.zipped_images import ZippedImages

K = DatasetKind


@dataclass(frozen=True, slots=True)
class Stream:
    """One .txt: a single text, in pieces."""

    kind: DatasetKind
    columns: dict[str, str]
    pieces: Callable[[], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Examples:
    """`unread` are the file's columns that no field reads."""

    kind: DatasetKind
    columns: dict[str, str]
    unread: Sequence[str]
    each: Callable[[Problems], Iterator[Example]]


@dataclass(frozen=True, slots=True)
class Blocks:
    kind: DatasetKind
    columns: dict[str, str]
    unread: Sequence[str]
    each: Callable[[Problems], Iterator[Block]]


Records = Stream | Examples | Blocks


def open_records(source: Source, kind: str | None, columns: Columns | None) -> Records:
    asked = kinds.parse_kind(kind, source.suffix)
    match source.suffix:
        case ".txt":
            return _open_text(source, columns or {})
        case ".conll" | ".conllu":
            return _open_conll(source, columns or {})
        case ".npz":
            return _open_npz(source, asked, columns or {})
        case ".zip":
            return _open_zip(source, asked, columns or {})
        case _:
            return _open_table(source, asked, columns or {})


def _open_text(source: Source, columns: Columns) -> Records:
    if columns:
        raise refusal("columns", "A .txt has no columns: the whole file is one text.")
    return Stream(K.TEXT, {}, lambda: _pieces_or_refusal(source))


def _pieces_or_refusal(source: Source) -> Iterator[str]:
    source.file.seek(0)
    try:
        yield from pieces(source.file)
    except BadValue as error:
        location, _, message = str(error).partition(": ")
        raise refusal(location, message) from None


def _open_table(source: Source, asked: DatasetKind | None, columns: Columns) -> Records:
    table = open_table(source)
    there = list(table.columns())
    resolved = kinds.resolve_columns(columns, there)
    kind = asked or kinds.infer_kind(resolved, bool(table.numeric_columns()), there)
    return (_vectors if kind in kinds.VECTORS else _examples)(table, kind, resolved, there)


def _vectors(table: Table, kind: DatasetKind, resolved: Mapping[str, str], there: Sequence[str]) -> Records:
    used = _used(kind, resolved, there, optional={"features"})
    vectors = VectorTable(table, used, {resolved[name] for name in ("label", "target") if name in resolved})
    if not vectors.feature_columns:
        raise refusal("columns", f"The file has no column of numbers to be features; it has {listed(there)}.")
    unread = [name for name in there if name not in {*vectors.feature_columns, *used.values()}]
    return Blocks(kind, used, unread, vectors.blocks)


def _examples(table: Table, kind: DatasetKind, resolved: Mapping[str, str], there: Sequence[str]) -> Records:
    used = _used(kind, resolved, there)
    unread = [name for name in there if name not in used.values()]
    return Examples(kind, used, unread, lambda problems: _decoded(table, kind, used, problems))


def _used(
    kind: DatasetKind,
    resolved: Mapping[str, str],
    there: Sequence[str],
    optional: frozenset[str] | set[str] = frozenset(),
) -> dict[str, str]:
    """The columns that this kind reads. One that the file lacks is refused."""
    names = kinds.fields_of(kind, resolved)
    for name in names:
        if name not in resolved and name not in optional:
            raise refusal(
                f"columns.{name}",
                f"A {kind} data set needs {name!r}, and the file has no such column; it has {listed(there)}. "
                f'Map it: {{"{name}": "<a column of the file>"}}.',
            )
    return {name: resolved[name] for name in names if name in resolved}


def _decoded(
    table: Table | ConllTable, kind: DatasetKind, used: Mapping[str, str], problems: Problems
) -> Iterator[Example]:
    decode = decoder(kind, list(used), table.values_are_text)
    for number, values in table.rows(list(used.values()), problems):
        try:
            example = decode(values)
        except BadValue as error:
            problems.add(f"{table.unit} {number}", error)
        else:
            yield example


def _open_conll(source: Source, columns: Columns) -> Records:
    table = ConllTable(source, columns)
    used = table.resolved
    return Examples(K.TAGGED_TOKENS, used, (), lambda problems: _decoded(table, K.TAGGED_TOKENS, used, problems))


def _open_npz(source: Source, asked: DatasetKind | None, columns: Columns) -> Records:
    arrays = open_npz(source)
    resolved = npz_columns(columns, arrays)
    kind = asked or kinds.infer_kind(resolved, False, arrays)
    used = _used(kind, resolved, list(arrays))
    return Blocks(kind, used, [name for name in arrays if name not in used.values()], NpzArrays(arrays, used).blocks)


def _open_zip(source: Source, asked: DatasetKind | None, columns: Columns) -> Records:
    if columns:
        raise refusal("columns", "A .zip has no columns: the folder of a picture is its label.")
    images = ZippedImages(source)
    candidates = images.candidates()
    if asked is None and len(candidates) > 1:
        raise refusal(
            "kind",
            f"All pictures lie in one folder: the file could be {' or '.join(map(repr, map(str, candidates)))}: "
            "say which in `kind`.",
        )
    kind = asked or candidates[0]
    return Blocks(kind, {}, (), lambda problems: images.blocks(kind is K.LABELED_IMAGES, problems))
