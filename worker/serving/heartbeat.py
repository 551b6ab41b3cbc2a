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
        interval_seconds: float,
    ) -> None:
        self._database = database
        self._replica_id = replica_id
        self._address = address
        self._devices = list(devices)
        self._loaded = loaded
        self._interval_seconds = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take the replica off the list, so that no further request is sent here."""
        self._stopping.set()
        self._thread.join()
        self._attempt(self._remove)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._attempt(self._beat)
            self._stopping.wait(self._interval_seconds)

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001  whatever the database suffers from, serving goes on
            logger.warning("The heartbeat could not be written: %s", str(error).partition("\n")[0])

    def _beat(self) -> None:
        with self._database.transaction() as session:
            workers.heartbeat(
                session,
                id=self._replica_id,
                role="inference",
                queues=[],
                devices=self._devices,
                address=self._address,
                loaded=self._loaded(),
                at=now(session),
            )

    def _remove(self) -> None:
        with self._database.transaction() as session:
            workers.remove(session, self._replica_id)
