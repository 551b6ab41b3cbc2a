"""Run by Alembic: all due revisions in one transaction, which waits for another migrator's to end.

Reached through `app.db.migrate`, which gives the connection, and through `python -m migrations.revise`.
"""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, text

from app.db.migrate import MIGRATION_LOCK
from app.db.tables import Row, UtcDateTime


def _run(connection: Connection) -> None:
    """SQLite's DDL is transactional too, and `BEGIN IMMEDIATE` (app.db.session) is its lock."""
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        render_as_batch=True,
        render_item=_rendered,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
        context.run_migrations()


def _rendered(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """A revision names no type of ours: it must still run when that has changed."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


_run(context.config.attributes["connection"])
