"""Delivers what is due, in the api's event loop. Any number of couriers may work on one outbox.

A notice that is taken is due again after HOLD: whoever took it may have died before telling how it went. Of one webhook
one notice is under way at a time, so that a slow receiver keeps nobody else's waiting.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import httpcore2
import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.db import outbox
from app.db.outbox import Notice
from app.db.session import Database, now
from app.settings import Settings
from app.webhooks.delivery import Undelivered, deliver
from app.webhooks.network import GuardedBackend

POLL_SECONDS = 1.0
HOLD = timedelta(seconds=60)
MAX_AT_ONCE = 16
#: After each attempt that failed, as Standard Webhooks proposes. Behind the last of them a notice is given up.
PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3_600, 5 * 3_600, 10 * 3_600, 14 * 3_600, 20 * 3_600, 24 * 3_600)
)

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Courier:
    """For one event loop."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpcore2.default_ssl_context(),  # else the certificates are read anew for each connection
            network_backend=GuardedBackend(settings.webhook_networks),
            max_keepalive_connections=0,
        )

    async def run(self) -> None:
        """Until it is cancelled; then nothing of it is left in the database. What was under way is delivered anew, by
        whoever comes next."""
        while True:
            try:
                await self.round()
            except SQLAlchemyError as error:
                _log.warning("notices_wait", error=str(error))
            except Exception:  # noqa: BLE001  the edge of a task whose end nobody would see
                _log.exception("courier_stumbled")
            await asyncio.sleep(POLL_SECONDS)

    async def round(self) -> None:
        """Deliver what is due, of each webhook the oldest, until nothing is. Raises SQLAlchemyError."""
        while taken := await _in_thread(self._take):
            await asyncio.gather(*(self._deliver(notice, at) for notice, at in taken))

    def _take(self) -> Sequence[tuple[Notice, datetime]]:
        with self._database.reading() as session:
            if not outbox.any_due(session, now(session)):
                return ()
        with self._database.transaction() as session:
            at = now(session)
            return [(notice, at) for notice in outbox.take_due(session, at, until=at + HOLD, limit=MAX_AT_ONCE)]

    async def _deliver(self, notice: Notice, at: datetime) -> None:
        try:
            status = await deliver(self._pool, notice, at)
        except Undelivered as failure:
            await _in_thread(self._note_failure, notice, failure)
        else:
            await _in_thread(self._note_success, notice, status)

    def _note_success(self, notice: Notice, status: int) -> None:
        with self._database.transaction() as session:
            outbox.note_success(session, notice, status, now(session))

    def _note_failure(self, notice: Notice, failure: Undelivered) -> None:
        pause = None if failure.gone else next(iter(PAUSES[notice.attempt - 1 :]), None)
        with self._database.transaction() as session:
            due_at = None if pause is None else now(session) + pause
            outbox.note_failure(session, notice, str(failure), failure.status, due_at)


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    """A thread cannot be cancelled: whoever is, waits until it has ended."""
    thread = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        raise
