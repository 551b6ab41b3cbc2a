"""Continuous batching: requests join and leave the running batch between steps. Knows no text, no HTTP, no model.

One step: those whose caller has gone leave, one waiting request joins (its prompt is read), then each running request
gets one token from a single forward pass.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from app.contract.errors import Overloaded
from worker.serving.device import Device
from worker.serving.generation.sampling import Sampler

logger = logging.getLogger(__name__)

FinishReason = Literal["stop", "length"]


class Decoder(Protocol):
    """The model with the state of the running rows. A recurrent model's state serves as well as a cache."""

    def prefill(self, prompt: Sequence[int]) -> Tensor:
        """Read a prompt as a new, last row -> logits of its next token, float [V]."""

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row -> logits of the next ones, float [rows, V]."""

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which keep their order."""


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """`tokens` bounds the cache: prompts and answers of all running requests, at their longest."""

    rows: int = 32
    tokens: int = 131_072
    waiting: int = 256


@dataclass(slots=True, eq=False)
class TokenRequest:
    """`finish_reason` is set with the last token: `stop` at an end token, which is not given out."""

    prompt: Sequence[int]
    max_tokens: int
    sampler: Sampler
    finish_reason: FinishReason | None = None

    @property
    def most_tokens(self) -> int:
        return len(self.prompt) + self.max_tokens


@dataclass(slots=True, eq=False)
class _Row:
    """A request under way. `arrived` carries tokens to its event loop: None ends them, an exception breaks them off."""

    request: TokenRequest
    loop: asyncio.AbstractEventLoop
    arrived: "asyncio.Queue[int | Exception | None]"
    tokens: list[int] = field(default_factory=list)
    ended: bool = False


class Scheduler:
    """Lives on one event loop; its steps run on the device's thread."""

    def __init__(
        self, device: Device, decoder: Decoder, end_tokens: frozenset[int], limits: GenerationLimits | None = None
    ) -> None:
        self._device = device
        self._decoder = decoder
        self._end_tokens = end_tokens
        self._limits = limits or GenerationLimits()
        self._lock = threading.Lock()
        self._waiting: deque[_Row] = deque()
        self._running: list[_Row] = []

    async def tokens(self, request: TokenRequest) -> AsyncGenerator[int, None]:
        """Tokens as they come; closing the iterator takes the request out of the batch.

        Raises Overloaded where too many wait, or what the model raised.
        """
        row = _Row(request, asyncio.get_running_loop(), asyncio.Queue())
        with self._lock:
            if len(self._waiting) >= self._limits.waiting:
                raise Overloaded(
                    f"{len(self._waiting)} requests wait to generate with this model already.", retry_after_seconds=1
                )
            self._waiting.append(row)
        self._device.wake(self)
        try:
            while (token := await row.arrived.get()) is not None:
                if isinstance(token, Exception):
                    raise token
                yield token
        finally:
            row.ended = True

    def step(self) -> bool:
        """One token for each running request (on the device's thread)."""
        try:
            self._leave()
            self._join()
            self._advance()
        except Exception as error:
            logger.exception("A generation step failed")
            self._fail(error)
        return bool(self._running or self._waiting)

    def _leave(self) -> None:
        staying = [index for index, row in enumerate(self._running) if not row.ended]
        if len(staying) < len(self._running):
            self._decoder.keep(staying)
            self._running = [self._running[index] for index in staying]

    def _join(self) -> None:
        row = self._next_waiting()
        if row is not None:
            self._running.append(row)
            logits = self._decoder.prefill(row.request.prompt)
            self._take(row, row.request.sampler.choose(logits))

    def _next_waiting(self) -> _Row | None:
        """The oldest whose caller still waits, if the batch has room for it; an empty batch takes any."""
        with self._lock:
            while self._waiting and self._waiting[0].ended:
                self._waiting.popleft()
            if not self._waiting or not self._has_room(self._waiting[0]):
                return None
            return self._waiting.popleft()

    def _has_room(self, row: _Row) -> bool:
        reserved = sum(running.request.most_tokens for running in self._running)
        return not self._running or (
            len(self._running) < self._limits.rows and reserved + row.request.most_tokens <= self._limits.tokens
        )

    def _advance(self) -> None:
        self._leave()
        if self._running:
            logits = self._decoder.advance([row.tokens[-1] for row in self._running])
            for row, row_logits in zip(self._running, logits, strict=True):
                self._take(row, row.request.sampler.choose(row_logits))

    def _take(self, row: _Row, token: int) -> None:
        """Give a token out, or end the row with it."""
        if token in self._end_tokens:
            self._end(row, "stop")
            return
        row.tokens.append(token)
        self._send(row, token)
        if len(row.tokens) == row.request.max_tokens:
            self._end(row, "length")

    def _end(self, row: _Row, reason: FinishReason) -> None:
        row.ended = True
        row.request.finish_reason = reason
        self._send(row, None)

    def _fail(self, error: Exception) -> None:
        """A step that fails ends every running request; those that wait start on a fresh state."""
        failed, self._running = self._running, []
        for row in failed:
            if not row.ended:
                row.ended = True
                self._send(row, error)
        self._decoder.keep([])

    def _send(self, row: _Row, token: int | Exception | None) -> None:
        try:
            row.loop.call_soon_threadsafe(row.arrived.put_nowait, token)
        except RuntimeError:
            row.ended = True  # the event loop has closed: nobody waits any more
