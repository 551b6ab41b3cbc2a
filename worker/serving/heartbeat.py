"""Tells the database every few seconds that this replica lives and which models it holds. Knows no HTTP, no torch.

A database that does not answer never stops serving: the beat is missed, and the next one is tried.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from app.db import workers
from app.db.session import Database, now

logger = logging.getLogger(__name__)


class Heartbeat:
    """A thread; `loaded` is asked at each beat."""

    def __init__(
        self,
        database: Database,
        *,
        replica_id: str,
        address: str,
        devices: Sequence[str],
        loaded: Callable[[], list[str]],
        cache_bytes: int,
        interval_seconds: float,
    ) -> None:
        self._database = database
        self._replica_id = replica_id
        self._address = address
        self._devices = list(devices)
        self._loaded = loaded
        self._cache_bytes = cache_bytes
        self._interval_seconds = interval_seconds
        self._stopping = threading.Event()
        self._beating = threading.Lock()  # a later beat tells later news
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take the replica off the list, so that no further request is sent here."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._attempt(self._remove)

    def beat(self) -> None:
        """Tell the news now, and not with the next beat."""
        self._attempt(self._beat)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.beat()
            self._stopping.wait(self._interval_seconds)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001  whatever the database suffers from, serving goes on
            logger.warning("The heartbeat could not be written: %s", str(error).partition("\n")[0])

    def _beat(self) -> None:
        with self._beating, self._database.transaction() as session:
            if self._stopping.is_set():
                return
            workers.heartbeat(
                session,
                id=self._replica_id,
                role="inference",
                queues=[],
                devices=self._devices,
                address=self._address,
                loaded=self._loaded(),
                cache_bytes=self._cache_bytes,
                at=now(session),
            )

    def _remove(self) -> None:
        with self._beating, self._database.transaction() as session:
            workers.remove(session, self._replica_id)
