"""Which inference replicas live, and which of them a model belongs to. Knows nothing of requests.

Rendezvous hashing: each model has its own order of the replicas, so it stays warm where it is, and a replica that
leaves moves only its own models.
"""

import asyncio
import hashlib
import logging
import threading
import time
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from app.db import workers
from app.db.session import Database, now

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
#: How soon a new replica is found while there is none.
EMPTY_REFRESH_SECONDS = 0.2
#: A replica that failed to answer is asked last for so long.
SUSPECT_SECONDS = 5.0


class Replicas:
    """`live_seconds`: how old the last heartbeat of a living replica may be."""

    def __init__(self, database: Database, live_seconds: float) -> None:
        self._database = database
        self._live_seconds = live_seconds
        self._addresses: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._reading = threading.Lock()
        self._suspected_until: dict[str, float] = {}

    async def ranked(self, digest: str) -> list[str]:
        """Addresses of the live replicas, the model's own first, those that just failed last."""
        if self._stale():
            await asyncio.to_thread(self._refresh)
        return sorted(self._addresses, key=lambda address: (self._suspected(address), -_weight(digest, address)))

    async def lives(self, address: str) -> bool:
        return address in await self.ranked("")

    def suspect(self, address: str) -> None:
        self._suspected_until[address] = time.monotonic() + SUSPECT_SECONDS

    def _stale(self) -> bool:
        limit_seconds = REFRESH_SECONDS if self._addresses else EMPTY_REFRESH_SECONDS
        return time.monotonic() - self._read_at > limit_seconds

    def _refresh(self) -> None:
        """One reads, the others wait for it. A database that does not answer leaves the old list standing."""
        with self._reading:
            if not self._stale():
                return
            try:
                self._addresses = self._read()
            except SQLAlchemyError as error:
                logger.warning("The live replicas cannot be read: %s", error)
            self._read_at = time.monotonic()

    def _read(self) -> frozenset[str]:
        with self._database.reading() as session:
            since = now(session) - timedelta(seconds=self._live_seconds)
            rows = workers.live(session, "inference", since)
            return frozenset(row.address for row in rows if row.address)

    def _suspected(self, address: str) -> bool:
        return self._suspected_until.get(address, 0.0) > time.monotonic()


def _weight(digest: str, address: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{digest} {address}".encode(), digest_size=8).digest())
