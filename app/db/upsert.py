"""INSERT ... ON CONFLICT, which SQLite and PostgreSQL spell alike and SQLAlchemy keeps in two dialects."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.db.tables import Row


def upsert(session: Session, table: type[Row], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; one whose primary key stands already takes the new values of all other columns given."""
    if not rows:
        return
    statement = insert_into(session, table).values(list(rows))
    key = [column.name for column in inspect(table).primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


def insert_new(session: Session, table: type[Row], row: Mapping[str, Any]) -> bool:
    """False, and nothing is changed, where a row of the same key stands already; of several at once one inserts."""
    key = inspect(table).primary_key[0]
    statement = insert_into(session, table).values(dict(row)).on_conflict_do_nothing().returning(key)
    return session.execute(statement).first() is not None


def insert_into(session: Session, table: type[Row]) -> postgresql.Insert | sqlite.Insert:
    return (postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert)(table)
