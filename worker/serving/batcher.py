"""Batches the rows of concurrent calls. Knows nothing of HTTP, of models, or of what a row means.

There is no timer: a batch is whatever arrived while the previous one ran, so an idle model answers at once and a busy
one fills its batches by itself. (LitServe's wait is paid in full by a lone client: 12 ms at 10 ms, measured.)
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, TypeVar

from app.contract.errors import Overloaded
from app.tracing import Stages
from worker.serving.device import Device

logger = logging.getLogger(__name__)

#: A batch of this many padded tokens keeps the cores busy: from there on, rows of unlike length go separate ways.
EFFICIENT_TOKENS = 512
MAX_LENGTH_RATIO = 1.5
OVERLOAD_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`tokens` counts padding. `waiting_rows` and `waiting_tokens` bound the queue: beyond, callers are turned away."""

    rows: int = 64
    tokens: int = 8_192
    waiting_rows: int = 4_096
    waiting_tokens: int = 262_144


class BatchMeter(Protocol):
    """Is told from the device's thread."""

    def waited(self, seconds: float) -> None:
        """A call, from its arrival until the first of its rows runs."""

    def computed(self, num_rows: int, seconds: float) -> None:
        """A batch."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch. `length` is its cost: tokens for text, 1 for what has no length."""

    value: Any
    length: int = 1


@dataclass(slots=True)
class _Call:
    """Rows that one caller waits for. `arrived_at` is null once the first of them has run."""

    future: asyncio.Future[list[Any]]
    results: list[Any]
    missing: int
    arrived_at: float | None
    stages: Stages

    def deliver(self, index: int, result: Any) -> None:
        self.results[index] = result
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(self.results)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True)
class _Entry:
    call: _Call
    index: int
    row: Row


@dataclass(slots=True)
class _Queue:
    """What waits, oldest first, and how much it is."""

    entries: deque[_Entry] = field(default_factory=deque)
    tokens: int = 0

    def extend(self, entries: Sequence[_Entry]) -> None:
        self.entries.extend(entries)
        self.tokens += sum(entry.row.length for entry in entries)

    def take(self, limit: int) -> list[_Entry]:
        """The oldest `limit` entries whose caller still waits."""
        taken: list[_Entry] = []
        while self.entries and len(taken) < limit:
            entry = self.entries.popleft()
            self.tokens -= entry.row.length
            if not entry.call.future.done():
                taken.append(entry)
        return taken


class Batcher:
    """Runs `core` over rows of many callers at once. Lives on one event loop; `core` runs on the device's thread."""

    def __init__(
        self, device: Device, core: Callable[[Sequence[Any]], Sequence[Any]], limits: BatchLimits, meter: BatchMeter
    ) -> None:
        self._device = device
        self._core = core
        self._limits = limits
        self._meter = meter
        self._lock = threading.Lock()
        self._queue = _Queue()
        self._batches: deque[list[_Entry]] = deque()

    async def run(self, rows: Sequence[Row]) -> list[Any]:
        """The result of each row, in order. Cancelling the caller drops its rows that have not run.

        Raises Overloaded where the queue is full (an empty queue takes any one call), or what `core` raised.
        """
        if not rows:
            return []
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        call = _Call(future, [None] * len(rows), len(rows), perf_counter(), Stages())
        with self._lock:
            self._refuse_overload(rows)
            self._queue.extend([_Entry(call, index, row) for index, row in enumerate(rows)])
        self._device.wake(self)
        return await call.future

    def step(self) -> bool:
        """Run one batch (on the device's thread)."""
        if not self._batches:
            with self._lock:
                window = self._queue.take(self._limits.rows * 8)
            self._batches.extend(cut(window, self._limits))
        if self._batches:
            self._run_batch([entry for entry in self._batches.popleft() if not entry.call.future.done()])
        return bool(self._batches or self._queue.entries)

    def _refuse_overload(self, rows: Sequence[Row]) -> None:
        waiting, limits = self._queue, self._limits
        if waiting.entries and (
            len(waiting.entries) + len(rows) > limits.waiting_rows
            or waiting.tokens + sum(row.length for row in rows) > limits.waiting_tokens
        ):
            raise Overloaded(
                f"{len(waiting.entries)} inputs wait for this model already. Try again in a moment.",
                retry_after_seconds=OVERLOAD_RETRY_SECONDS,
            )

    def _run_batch(self, batch: list[_Entry]) -> None:
        """A batch of several callers that fails runs again, each caller alone: only the guilty one fails."""
        if not batch:
            return
        began_at = perf_counter()
        self._tell_waits(batch, began_at)
        try:
            results = self._core([entry.row.value for entry in batch])
            self._meter.computed(len(batch), perf_counter() - began_at)
            assert len(results) == len(batch), (len(results), len(batch))
        except Exception as error:
            callers = _callers(batch)
            if len(callers) == 1:
                logger.exception("A batch failed")
                _on_loop(batch[0].call, batch[0].call.fail, error)
            else:
                for call in callers:
                    self._run_batch([entry for entry in batch if entry.call is call])
        else:
            for call in _callers(batch):
                call.stages.end("forward", rows=len(batch))
            _on_loop(batch[0].call, _deliver, batch, results)

    def _tell_waits(self, batch: list[_Entry], began_at: float) -> None:
        for entry in batch:
            if entry.call.arrived_at is not None:
                self._meter.waited(began_at - entry.call.arrived_at)
                entry.call.arrived_at = None
                entry.call.stages.end("queue")


class Queued(Protocol):
    @property
    def row(self) -> Row: ...


Entry = TypeVar("Entry", bound=Queued)


def cut(window: Sequence[Entry], limits: BatchLimits) -> list[list[Entry]]:
    """Batches of like length. Sorting is stable, so equal lengths keep their order of arrival."""
    batches: list[list[Entry]] = []
    for entry in sorted(window, key=lambda entry: entry.row.length):
        if not batches or not _joins(batches[-1], entry, limits):
            batches.append([])
        batches[-1].append(entry)
    return batches


def _joins(batch: Sequence[Entry], entry: Entry, limits: BatchLimits) -> bool:
    length = entry.row.length
    padded = (len(batch) + 1) * length
    alike = length <= MAX_LENGTH_RATIO * batch[0].row.length
    return len(batch) < limits.rows and padded <= limits.tokens and (alike or padded <= EFFICIENT_TOKENS)


def _callers(batch: list[_Entry]) -> list[_Call]:
    return list({id(entry.call): entry.call for entry in batch}.values())


def _deliver(batch: list[_Entry], results: Sequence[Any]) -> None:
    for entry, result in zip(batch, results, strict=True):
        entry.call.deliver(entry.index, result)


def _on_loop(call: _Call, function: Callable[..., None], *arguments: Any) -> None:
    """Futures belong to their event loop; one that has closed has nobody waiting."""
    try:
        call.future.get_loop().call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        logger.warning("The event loop closed before its batch was done")
