"""Who presents a key: answered from memory for FRESH_SECONDS, so that a key costs the database next to nothing.

A key that is revoked or expires is refused FRESH_SECONDS later at the latest; one that is made is taken at once. Keys
that are not in memory are looked up together, one look at a time and after a pause where unknown ones were among them:
whoever tries keys makes the database answer ten times a second and no more.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Coroutine
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.contract.errors import Overloaded
from app.services.keys import Keys, KeyView, Presented

FRESH_SECONDS = 5.0
PAUSE_SECONDS = 0.1
MAX_WAITING = 1_000
MAX_REMEMBERED = 10_000

_log = structlog.get_logger(__name__)


class Authenticator:
    """For one event loop. Looks are taken in threads of their own, not in those that handlers wait for."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._remembered: OrderedDict[Presented, tuple[float, KeyView]] = OrderedDict()
        self._waiting: dict[Presented, asyncio.Future[KeyView | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = False
        self._any_made = False
        self._any_made_at = float("-inf")
        self._one_asks = asyncio.Lock()

    async def any_made(self) -> bool:
        """Whether a key was ever made, which cannot be undone; the first one is noticed within FRESH_SECONDS."""
        if not self._any_made and not _fresh(self._any_made_at):
            async with self._one_asks:
                if not _fresh(self._any_made_at):
                    self._any_made = await asyncio.to_thread(self._keys.any_made)
                    self._any_made_at = time.monotonic()
        return self._any_made

    async def find(self, text: str) -> KeyView | None:
        """The key, or None if it is unknown, revoked or expired. Raises Overloaded where too many are being tried."""
        presented = Presented.of(text)
        if (remembered := self._remembered.get(presented)) and _fresh(remembered[0]):
            return remembered[1]
        return await asyncio.shield(self._looked_up(presented))

    async def close(self) -> None:
        """Once no request comes any more: let what was begun end, before the database goes."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _looked_up(self, presented: Presented) -> "asyncio.Future[KeyView | None]":
        if presented not in self._waiting:
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded("Too many unknown keys are being tried now.", retry_after_seconds=1)
            self._waiting[presented] = asyncio.get_running_loop().create_future()
        if not self._looking:
            self._looking = True
            self._start(self._look())
        return self._waiting[presented]

    async def _look(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            looked_at = time.monotonic()
            try:
                found = await asyncio.to_thread(self._keys.authenticate, waiting.keys())
            except Exception as error:  # noqa: BLE001  theirs who wait for it
                for future in waiting.values():
                    future.set_exception(error)
                continue
            for presented, future in waiting.items():
                future.set_result(found.get(presented))
                self._remember(presented, found.get(presented), looked_at)
            self._start(self._mark_used(found.values()))
            if len(found) < len(waiting):
                await asyncio.sleep(PAUSE_SECONDS)
        self._looking = False

    def _remember(self, presented: Presented, key: KeyView | None, at: float) -> None:
        self._remembered.pop(presented, None)
        if key is not None:
            self._remembered[presented] = (at, key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _mark_used(self, found: Collection[KeyView]) -> None:
        try:
            await asyncio.to_thread(self._keys.mark_used, found)
        except SQLAlchemyError as error:
            _log.warning("use_of_keys_not_marked", error=str(error))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """The loop itself holds tasks but weakly."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fresh(at: float) -> bool:
    return time.monotonic() < at + FRESH_SECONDS
