"""Files of the store that no row refers to: what a process that died left between the two, and failed deletions.

A file goes when it is a day old, no row refers to it, and nothing that runs may still register it. So an upload, which
is stored for at most minutes before its row stands, and an attempt, however long it takes, are left alone. Keys that
are not laid out as ours are not touched. May be done any number of times, by several processes at once.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import structlog

from app.contract.layout import Owner, owner_of
from app.db import datasets, references
from app.db.session import Database
from app.services.files import remove_files
from app.storage import ArtifactStore, StoredKey

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Garbage:
    database: Database
    store: ArtifactStore

    def collect(self, before: datetime, stop: Callable[[], bool] = lambda: False) -> None:
        """Delete what was written before `before` and is referred to by nothing, until `stop` says to end early.

        Files are listed before rows are read: what is registered meanwhile is seen.
        """
        for owner, files in groupby(self.store.list(""), key=lambda file: owner_of(file.key)):
            if stop():
                return
            old = [file for file in files if file.modified_at < before]
            if owner is not None and old:
                self._collect_from(owner, old)

    def _collect_from(self, owner: Owner, old: Collection[StoredKey]) -> None:
        if owner.kind == "blobs":
            for file in old:
                self._collect_blob(file)
            return
        with self.database.reading() as session:
            if owner.kind == "models":
                kept = references.files_of_model(session, owner.id)
            else:
                kept, writing = references.files_of_job(session, owner.project_id, owner.id)
                kept |= {file.key for file in old if writing is not None and file.key.startswith(f"{writing}/")}
        self._remove(file for file in old if file.key not in kept)

    def _collect_blob(self, file: StoredKey) -> None:
        """Under the lock that an upload of the same bytes takes to look whether they are there."""
        with self.database.reading() as session:
            if datasets.blob_in_use(session, file.key):
                return
        with self.database.transaction() as session:
            datasets.lock_blob(session, file.key)
            if not datasets.blob_in_use(session, file.key):
                self._remove([file])

    def _remove(self, files: Iterable[StoredKey]) -> None:
        for file in files:
            remove_files(self.store, [file.key])
            _log.info("garbage_collected", key=file.key, size_bytes=file.size_bytes)
