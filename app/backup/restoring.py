"""Makes a service of a backup: in an empty database and an empty store, and nowhere else.

Every byte is verified before anything is written. Files come first and rows last, in one transaction: a restore that
was broken off can be repeated.
"""

from pathlib import Path

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.orm import Session

from app.backup.format import STORE_FOLDER, TABLES_FOLDER, BackupError, Manifest, read_manifest, stored_files, verify
from app.backup.rows import load, tables_of
from app.contract.job import AttemptOutcome
from app.db import attempts
from app.db.migrate import UnknownSchema, upgrade
from app.db.session import Database
from app.db.tables import JobRow
from app.storage import ArtifactStore

#: Made by the first migration: there before anybody has made anything.
MADE_BY_MIGRATIONS = frozenset({"projects"})


def restore(folder: Path, url: str, store: ArtifactStore) -> Manifest:
    """Raises BackupError: then the database is as it was. `url` is SQLAlchemy's. Jobs that ran when the backup was made
    are queued again, and go on from their last checkpoint."""
    manifest = read_manifest(folder)
    verify(folder, manifest)
    database = Database(url)
    try:
        _check_empty(database)
        _check_store(folder, store)
        _migrate(url, manifest.revision)
        for file in stored_files(folder):
            store.put(file.path, folder / STORE_FOLDER / file.path)
        with database.transaction() as session:
            _load(session.connection(), folder)
        _migrate(url)
        with database.transaction() as session:
            _end_attempts(session, manifest)
    finally:
        database.dispose()
    return manifest


def _check_empty(database: Database) -> None:
    with database.reading() as session:
        connection = session.connection()
        tables = [table for table in tables_of(connection) if table.name not in MADE_BY_MIGRATIONS]
        held = [table.name for table in tables if _num_rows(connection, table)]
    if held:
        raise BackupError(
            f"The database is not empty: it holds {', '.join(held)}. A backup is restored into an empty one only: name "
            "another by PRETUNE_DATABASE_URL or --data-dir."
        )


def _num_rows(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _check_store(folder: Path, store: ArtifactStore) -> None:
    """What a restore that was broken off has put there already is in nobody's way."""
    expected = {file.path for file in stored_files(folder)}
    if foreign := next((file.key for file in store.list("") if file.key not in expected), None):
        raise BackupError(
            f"The store is not empty: it holds {foreign}. A backup is restored into an empty one only: name another by "
            "PRETUNE_STORE or --data-dir."
        )


def _migrate(url: str, revision: str = "head") -> None:
    try:
        upgrade(url, revision)
    except UnknownSchema as error:
        raise BackupError(f"The backup was made by another version of Pretune. {error}") from None


def _load(connection: Connection, folder: Path) -> None:
    for table in tables_of(connection):
        with (folder / TABLES_FOLDER / f"{table.name}.jsonl").open("rb") as lines:
            load(connection, table, lines)


def _end_attempts(session: Session, manifest: Manifest) -> None:
    """As if their trainers had shut down when the backup was made: the time since then is no time that they ran."""
    for row in session.scalars(select(JobRow).where(JobRow.status.in_(attempts.ACTIVE)).with_for_update()).all():
        attempts.conclude(
            session,
            row,
            AttemptOutcome.PREEMPTED,
            at=manifest.created_at,
            max_lost_attempts=1,
            detail="the service was restored from a backup",
        )
