"""Keeps models in memory, least recently used out first, under a bound in bytes. Knows no HTTP and no method.

All bookkeeping stands on one event loop, so it needs no locks; fetching, hashing and loading run in threads of their
own, so models already served never wait for one that loads. A model counts with the bytes of its files.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.contract.errors import Overloaded
from app.contract.inference import ModelReference
from worker.serving.errors import ModelTooLarge

Served = TypeVar("Served")

#: How long a load waits for models in use to be let go.
ROOM_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class _Entry(Generic[Served]):
    """`counted`: its bytes are among those held."""

    reference: ModelReference
    size_bytes: int
    task: "asyncio.Task[Served] | None" = None
    counted: bool = False
    users: int = 0

    @property
    def loaded(self) -> bool:
        return self.task is not None and self.task.done()


class Loader(Generic[Served]):
    """`load` runs in a thread and makes what serves a model."""

    def __init__(self, load: Callable[[ModelReference], Served], limit_bytes: int, num_threads: int = 2) -> None:
        self._load = load
        self._limit_bytes = limit_bytes
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="loader")
        self._entries: dict[str, _Entry[Served]] = {}  # by digest, least recently used first
        self._leaving: set[_Entry[Served]] = set()  # still in use, given to no further request
        self._held_bytes = 0
        self._making_room = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def loaded(self) -> list[str]:
        """Digests of the models in memory; safe to read from any thread."""
        return [digest for digest, entry in list(self._entries.items()) if entry.loaded]

    @asynccontextmanager
    async def use(self, reference: ModelReference) -> AsyncIterator[Served]:
        """The model, loaded once however many ask at once, and held in memory until the block ends.

        Raises ModelTooLarge, Overloaded, or what `load` raised.
        """
        entry = self._entry(reference)
        entry.users += 1
        try:
            assert entry.task is not None
            yield await asyncio.shield(entry.task)
        finally:
            entry.users -= 1
            if not entry.users:
                self._became_idle(entry)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _entry(self, reference: ModelReference) -> _Entry[Served]:
        entry = self._entries.pop(reference.digest, None) or self._start(reference)
        self._entries[reference.digest] = entry  # now the most recently used
        return entry

    def _start(self, reference: ModelReference) -> _Entry[Served]:
        size_bytes = sum(file.size_bytes for file in reference.files)
        if size_bytes > self._limit_bytes:
            raise ModelTooLarge(
                f"{reference.model_id} has {size_bytes:,} bytes; a replica holds at most {self._limit_bytes:,} bytes "
                "of models (PRETUNE_INFERENCE_CACHE_BYTES)."
            )
        entry: _Entry[Served] = _Entry(reference, size_bytes)
        entry.task = asyncio.create_task(self._loading(entry))
        entry.task.add_done_callback(self._finished_loading)
        return entry

    async def _loading(self, entry: _Entry[Served]) -> Served:
        try:
            async with self._making_room:
                await self._make_room(entry)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._load, entry.reference)
        except BaseException:
            self._drop(entry)
            raise

    async def _make_room(self, entry: _Entry[Served]) -> None:
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                while self._held_bytes + entry.size_bytes > self._limit_bytes:
                    self._changed.clear()
                    if not self._let_one_go():
                        await self._changed.wait()
        except TimeoutError:
            raise Overloaded("All loaded models are in use.", retry_after_seconds=5) from None
        self._held_bytes += entry.size_bytes
        entry.counted = True

    def _let_one_go(self) -> bool:
        """Drop an idle model; else let one in use leave when its last request ends, so that nobody starves."""
        loaded = [entry for entry in self._entries.values() if entry.counted and entry.loaded]
        idle = next((entry for entry in loaded if not entry.users), None)
        if idle is not None:
            self._drop(idle)
        elif loaded and not self._leaving:
            self._leaving.add(loaded[0])
            del self._entries[loaded[0].reference.digest]
        return idle is not None

    def _became_idle(self, entry: _Entry[Served]) -> None:
        if entry in self._leaving:
            self._drop(entry)
        self._changed.set()

    def _drop(self, entry: _Entry[Served]) -> None:
        self._leaving.discard(entry)
        if entry.counted:
            entry.counted = False
            self._held_bytes -= entry.size_bytes
        if self._entries.get(entry.reference.digest) is entry:
            del self._entries[entry.reference.digest]
        self._changed.set()

    def _finished_loading(self, task: "asyncio.Task[Served]") -> None:
        """What waits for room looks again. A failed load whose callers have all gone is no news."""
        self._changed.set()
        if not task.cancelled():
            task.exception()
