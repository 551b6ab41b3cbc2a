"""Rows to lines and back, by the schema that the database has: either database's, of this version or an older one.

A value is as JSON has it; a time is in ISO 8601, in UTC.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, DateTime, MetaData, Table, delete, insert, select
from sqlalchemy.types import JSON

#: Of processes that do not live on in a restored service, and of the migrations.
LEFT_OUT = frozenset({"workers", "duty_leases", "alembic_version"})
BATCH = 500

T = TypeVar("T")


def tables_of(connection: Connection) -> list[Table]:
    """Those that a backup holds, each after the tables that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in LEFT_OUT]


def lines_of(connection: Connection, table: Table) -> Iterator[bytes]:
    """In order of the primary key, in which a row comes after the rows of its table that it refers to."""
    query = select(table).order_by(*table.primary_key).execution_options(yield_per=BATCH)
    for row in connection.execute(query).mappings():
        yield json.dumps({name: _encoded(value) for name, value in row.items()}).encode() + b"\n"


def load(connection: Connection, table: Table, lines: Iterable[bytes]) -> None:
    """In place of what the table holds."""
    for column in table.columns:
        if isinstance(column.type, JSON):
            column.type.none_as_null = True
    connection.execute(delete(table))
    for batch in _batches(lines, BATCH):
        connection.execute(insert(table), [_decoded(table, json.loads(line)) for line in batch])


def _encoded(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()


def _decoded(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(table.columns[name].type, value) for name, value in row.items()}


def _value(kind: Any, value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(kind, DateTime) and value is not None else value


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
