"""Whether the stores answer: asked side by side, and told in bounded time even where one hangs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

import structlog
from redis import Redis
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool

from app.db.session import Database
from app.settings import Settings
from app.storage import ArtifactStore

#: Shorter than whoever asks is willing to wait: `pretune up` waits for one second.
ANSWER_SECONDS = 0.8

_log = structlog.get_logger(__name__)


class Readiness:
    def __init__(self, database: Database, store: ArtifactStore, settings: Settings) -> None:
        self._broker = _broker(settings.resolved_broker_url)
        self._checks = {
            "database": _Check("database", lambda: _ask(database)),
            "broker": _Check("broker", self._broker.ping),
            "store": _Check("store", store.check),
        }

    async def look(self) -> dict[str, bool]:
        """Which of the stores answer, by name."""
        passed = await asyncio.gather(*(check.passes() for check in self._checks.values()))
        return dict(zip(self._checks, passed, strict=True))

    def close(self) -> None:
        self._broker.close()


@dataclass(slots=True)
class _Check:
    """Never more than one of a kind at a time: a store that hangs would take a thread for each question."""

    name: str
    ask: Callable[[], object]
    _asking: "asyncio.Future[object] | None" = field(default=None, init=False)

    async def passes(self) -> bool:
        """Why it does not is for the log: anybody may ask."""
        if self._asking is None:
            self._asking = asyncio.ensure_future(run_in_threadpool(self.ask))
        asking = self._asking
        await asyncio.wait({asking}, timeout=ANSWER_SECONDS)
        if not asking.done():
            _log.warning("not_ready", store=self.name, error=f"no answer within {ANSWER_SECONDS} s")
            return False
        self._asking = None
        if error := asking.exception():
            _log.warning("not_ready", store=self.name, error=str(error))
        return error is None


def _ask(database: Database) -> None:
    with database.reading() as session:
        session.execute(text("SELECT 1"))


def _broker(url: str) -> Redis:
    """kombu and redis-py name a socket file differently."""
    if url.startswith("redis+socket://"):
        url = f"unix://{unquote(url.removeprefix('redis+socket://'))}"
    return Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)
