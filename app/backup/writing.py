"""Writes a backup while the service runs. It locks nothing and stops nobody.

Rows are read in one snapshot; files are copied after it. They are immutable. Meanwhile trainers give up checkpoints and
leave the files to the garbage collection, because a lease tells them of the backup; what a user deletes goes. Where a
file is gone, a new snapshot is taken, and what that refers to beyond the files copied already is copied too, until a
snapshot and the files agree. A file that two snapshots in a row refer to and that cannot be had is damage of the store,
which is told and left out.
"""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from alembic.migration import MigrationContext
from sqlalchemy.orm import Session

from app.backup.format import (
    FILES_NAME,
    STORE_FOLDER,
    TABLES_FOLDER,
    BackupError,
    File,
    Manifest,
    write_manifest,
    write_part,
)
from app.backup.rows import lines_of, tables_of
from app.db import duties
from app.db.references import Reference, all_files
from app.db.session import Database, now
from app.storage import ArtifactStore, sync_folder

#: Snapshots after which users delete files faster than they can be copied.
MAX_SNAPSHOTS = 5
#: Renewed with each file: longer than the largest takes to copy, and as long as a backup that died holds files.
LEASE_SECONDS = 1_800.0


class Written(NamedTuple):
    """`damaged` are keys of the store that the backup had to leave out."""

    folder: Path
    num_files: int
    size_bytes: int
    damaged: tuple[str, ...]


def write_backup(database: Database, store: ArtifactStore, destination: Path) -> Written:
    """Raises BackupError; a folder that stands at `destination` is a whole backup."""
    if destination.exists():
        raise BackupError(f"{destination} is there already. Choose a folder that is not.")
    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(f".{destination.name}.{uuid4().hex}.unfinished")
    unfinished.mkdir(mode=0o700)
    try:
        with _told(database) as hold:
            written = _Backup(database, store, unfinished, hold).write()
        unfinished.rename(destination)
        sync_folder(destination.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return written._replace(folder=destination)


@contextmanager
def _told(database: Database) -> Iterator[Callable[[], None]]:
    """Trainers know of the backup while the block runs, as long as what it is given is called again and again."""
    owner, held_at = uuid4().hex, -math.inf

    def hold() -> None:
        nonlocal held_at
        if time.monotonic() - held_at < LEASE_SECONDS / 10:
            return
        held_at = time.monotonic()
        with database.transaction() as session:
            if not duties.acquire(session, duties.BACKUP, owner, at=now(session), seconds=LEASE_SECONDS):
                raise BackupError(
                    f"Another backup runs, or was broken off within the last {LEASE_SECONDS / 60:.0f} minutes. Wait "
                    "for it."
                )

    hold()
    try:
        yield hold
    finally:
        with database.transaction() as session:
            duties.release(session, duties.BACKUP, owner)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    revision: str
    created_at: datetime
    parts: tuple[File, ...]
    files: Mapping[str, Reference]


@dataclass(frozen=True, slots=True)
class _Backup:
    """`hold` keeps trainers from deleting files. `copied` are those that lie in the folder, by key."""

    database: Database
    store: ArtifactStore
    folder: Path
    hold: Callable[[], None]
    copied: dict[str, File] = field(default_factory=dict)

    def write(self) -> Written:
        snapshot, damaged = self._agreeing()
        for key in self.copied.keys() - snapshot.files.keys():
            self._path(key).unlink()
            del self.copied[key]
        lines = (file.model_dump_json().encode() + b"\n" for _, file in sorted(self.copied.items()))
        manifest = Manifest(
            version=version("pretune"),
            revision=snapshot.revision,
            created_at=snapshot.created_at,
            parts=(*snapshot.parts, write_part(self.folder, FILES_NAME, lines)),
            damaged=tuple(sorted(damaged)),
        )
        write_manifest(self.folder, manifest)
        for folder, _, _ in os.walk(self.folder):
            sync_folder(Path(folder))
        size = sum(file.size_bytes for file in (*manifest.parts, *self.copied.values()))
        return Written(self.folder, len(self.copied), size, manifest.damaged)

    def _agreeing(self) -> tuple[_Snapshot, set[str]]:
        """A snapshot whose files are all here, but for those that are damaged."""
        absent: set[Reference] = set()
        for _ in range(MAX_SNAPSHOTS):
            snapshot = self._snapshot()
            before, absent = absent, self._copy(snapshot)
            if absent <= before:
                return snapshot, {file.key for file in absent}
        raise BackupError(
            f"Files were deleted while they were copied, {MAX_SNAPSHOTS} times over. Back up when nobody deletes so "
            "much, or to a faster disk."
        )

    def _snapshot(self) -> _Snapshot:
        with self.database.snapshot() as session:
            connection = session.connection()
            revision = MigrationContext.configure(connection).get_current_revision()
            if revision is None:
                raise BackupError("The database holds no service: it was never migrated.")
            parts = tuple(
                write_part(self.folder, f"{TABLES_FOLDER}/{table.name}.jsonl", lines_of(connection, table))
                for table in tables_of(connection)
            )
            return _Snapshot(revision, now(session), parts, _files(session))

    def _copy(self, snapshot: _Snapshot) -> set[Reference]:
        """Those that could not be had."""
        return {file for file in snapshot.files.values() if not self._has(file) and not self._fetched(file)}

    def _has(self, file: Reference) -> bool:
        copied = self.copied.get(file.key)
        return copied is not None and file.sha256 in (None, copied.sha256)

    def _fetched(self, file: Reference) -> bool:
        path = self._path(file.key)
        self.hold()
        try:
            stored = self.store.fetch(file.key, path)
        except FileNotFoundError:
            return not file.is_needed
        if file.sha256 not in (None, stored.sha256):
            path.unlink()
            self.copied.pop(file.key, None)
            return False
        self.copied[file.key] = File(path=file.key, size_bytes=stored.size_bytes, sha256=stored.sha256)
        return True

    def _path(self, key: str) -> Path:
        return self.folder / STORE_FOLDER / key


def _files(session: Session) -> Mapping[str, Reference]:
    """A model's files may be a checkpoint's too."""
    return {file.key: file for file in all_files(session)}
