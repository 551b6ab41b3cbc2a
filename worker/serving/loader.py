"""Keeps models in memory, least recently used out first, under a bound in bytes. Knows no HTTP and no method.

All bookkeeping stands on one event loop, so it needs no locks; fetching, hashing and loading run in threads of their
own, so models already served never wait for one that loads. A model counts with the bytes of its files.

Pinned models leave only where nothing else can: a bound that pins alone fill would otherwise serve nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from app.contract.errors import Overloaded
from app.contract.inference import ModelReference
from app.tracing import traces
from worker.serving.errors import ModelTooLarge

Served = TypeVar("Served")

#: How long a load waits for models in use to be let go.
ROOM_SECONDS = 60.0


class LoadMeter(Protocol):
    """Is told what comes and goes."""

    def loaded(self, reference: ModelReference, seconds: float) -> None: ...

    def failed(self, reference: ModelReference) -> None: ...

    def left(self, reference: ModelReference, *, evicted: bool) -> None:
        """`evicted`: to make room for another."""


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
    """`load` runs in a thread and makes what serves a model. `pinned` are digests."""

    def __init__(
        self, load: Callable[[ModelReference], Served], limit_bytes: int, meter: LoadMeter, num_threads: int = 2
    ) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.pinned: frozenset[str] = frozenset()
        self._load = load
        self._meter = meter
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="loader")
        self._entries: dict[str, _Entry[Served]] = {}  # by digest, least recently used first
        self._leaving: dict[_Entry[Served], bool] = {}  # given to no further request; whether to make room
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
            self._settle(entry)

    def unload(self, digest: str) -> bool:
        """Let a model go: at once where it is idle, else when its requests have ended. False where there is none."""
        entry = self._entries.pop(digest, None)
        if entry is None:
            return False
        self._leaving[entry] = False
        self._settle(entry)
        return True

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _entry(self, reference: ModelReference) -> _Entry[Served]:
        entry = self._entries.pop(reference.digest, None) or self._start(reference)
        self._entries[reference.digest] = entry  # now the most recently used
        return entry

    def _start(self, reference: ModelReference) -> _Entry[Served]:
        size_bytes = reference.size_bytes
        if size_bytes > self.limit_bytes:
            raise ModelTooLarge(
                f"{reference.model_id} has {size_bytes:,} bytes; a replica holds at most {self.limit_bytes:,} bytes "
                "of models (PRETUNE_INFERENCE_CACHE_BYTES)."
            )
        entry: _Entry[Served] = _Entry(reference, size_bytes)
        entry.task = asyncio.create_task(self._loading(entry))
        entry.task.add_done_callback(lambda task: self._finished_loading(entry, task))
        return entry

    async def _loading(self, entry: _Entry[Served]) -> Served:
        begun_at = perf_counter()
        try:
            async with self._making_room:
                await self._make_room(entry)
            served = await asyncio.get_running_loop().run_in_executor(self._threads, self._load, entry.reference)
        except BaseException:
            self._drop(entry)
            self._meter.failed(entry.reference)
            raise
        seconds = perf_counter() - begun_at
        self._meter.loaded(entry.reference, seconds)
        traces.tell("load", seconds, model_id=entry.reference.model_id, bytes=entry.size_bytes)
        return served

    async def _make_room(self, entry: _Entry[Served]) -> None:
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                while self.held_bytes + entry.size_bytes > self.limit_bytes:
                    self._changed.clear()
                    if not self._let_one_go():
                        await self._changed.wait()
        except TimeoutError:
            raise Overloaded("All loaded models are in use.", retry_after_seconds=5) from None
        self.held_bytes += entry.size_bytes
        entry.counted = True

    def _let_one_go(self) -> bool:
        """Drop an idle model; else let one in use leave when its last request ends, so that nobody starves."""
        loaded = self._candidates()
        idle = next((entry for entry in loaded if not entry.users), None)
        if idle is not None:
            self._drop(idle)
            self._meter.left(idle.reference, evicted=True)
        elif loaded and not self._one_leaves:
            del self._entries[loaded[0].reference.digest]
            self._leaving[loaded[0]] = True
        return idle is not None

    def _candidates(self) -> list[_Entry[Served]]:
        """What may make room, least recently used first: pinned models only where no other is, or is leaving."""
        loaded = [entry for entry in self._entries.values() if entry.counted and entry.loaded]
        others = [entry for entry in loaded if entry.reference.digest not in self.pinned]
        return others if others or self._one_leaves else loaded

    @property
    def _one_leaves(self) -> bool:
        """Whether a model will make room when its requests end; one that is not even loaded will not."""
        return any(entry.loaded for entry in self._leaving)

    def _settle(self, entry: _Entry[Served]) -> None:
        """Drop a model that is to leave once it is loaded and nobody uses it. What waits for room looks again."""
        if entry in self._leaving and entry.loaded and not entry.users:
            evicted = self._leaving[entry]
            self._drop(entry)
            self._meter.left(entry.reference, evicted=evicted)
        self._changed.set()

    def _drop(self, entry: _Entry[Served]) -> None:
        self._leaving.pop(entry, None)
        if entry.counted:
            entry.counted = False
            self.held_bytes -= entry.size_bytes
        if self._entries.get(entry.reference.digest) is entry:
            del self._entries[entry.reference.digest]
        self._changed.set()

    def _finished_loading(self, entry: _Entry[Served], task: "asyncio.Task[Served]") -> None:
        """A failed load whose callers have all gone is no news."""
        if not task.cancelled():
            task.exception()
        self._settle(entry)
