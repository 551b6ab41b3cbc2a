"""Continuous batching: requests join and leave the running batch between steps. Knows no text, no HTTP, no model.

One step: those whose caller has gone leave, some that wait join (their prompts are read together), then each running
request gets one token from a single forward pass.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from torch import Tensor

from app.contract.errors import Overloaded
from worker.serving.device import Turns
from worker.serving.generation.sampling import Likelihood, Sampler, choose, likelihoods

logger = logging.getLogger(__name__)

FinishReason = Literal["stop", "length"]


class Decoder(Protocol):
    """The model with the state of the running rows. A recurrent model's state serves as well as a cache."""

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read prompts as new rows behind the others -> logits of their next tokens, float [prompts, V].

        Where it raises, the other rows are as they were.
        """

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row -> logits of the next ones, float [rows, V]."""

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all rows but these, which keep their order."""


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """`tokens` bounds the cache: prompts and answers of all running requests, at their longest.

    `prompt_tokens`, padding included, are read in one step at most, unless one prompt alone is longer: what runs waits
    for it.
    """

    rows: int = 32
    prompt_tokens: int = 1_024
    tokens: int = 131_072
    waiting: int = 256


class Token(NamedTuple):
    id: int
    likelihood: Likelihood | None = None


@dataclass(slots=True, eq=False)
class TokenRequest:
    """`logprobs`: of so many of the likeliest tokens, where those of the chosen ones are wanted at all.

    `finish_reason` is set with the last token: `stop` at an end token, which is not given out."""

    prompt: Sequence[int]
    max_tokens: int
    sampler: Sampler
    logprobs: int | None = None
    finish_reason: FinishReason | None = None

    @property
    def most_tokens(self) -> int:
        return len(self.prompt) + self.max_tokens


@dataclass(slots=True, eq=False)
class _Row:
    """A request under way. `arrived` carries tokens to its event loop: None ends them, an exception breaks them off."""

    request: TokenRequest
    loop: asyncio.AbstractEventLoop
    arrived: "asyncio.Queue[Token | Exception | None]"
    tokens: list[int] = field(default_factory=list)
    ended: bool = False


class Scheduler:
    """Lives on one event loop; its steps run on the device's thread."""

    def __init__(
        self, device: Turns, decoder: Decoder, end_tokens: frozenset[int], limits: GenerationLimits | None = None
    ) -> None:
        self._device = device
        self._decoder = decoder
        self._end_tokens = end_tokens
        self._limits = limits or GenerationLimits()
        self._lock = threading.Lock()
        self._waiting: deque[_Row] = deque()
        self._running: list[_Row] = []

    async def tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
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
            self._join(self._next_waiting())
            self._advance()
        except Exception as error:
            logger.exception("A generation step failed")
            failed, self._running = self._running, []
            _fail(failed, error)
            self._decoder.keep([])
        return bool(self._running or self._waiting)

    def _leave(self) -> None:
        staying = [index for index, row in enumerate(self._running) if not row.ended]
        if len(staying) < len(self._running):
            self._decoder.keep(staying)
            self._running = [self._running[index] for index in staying]

    def _join(self, joining: list[_Row]) -> None:
        if not joining:
            return
        try:
            logits = self._decoder.prefill([row.request.prompt for row in joining])
        except Exception as error:
            logger.exception("Reading prompts failed")
            _fail(joining, error)
        else:
            self._running += joining
            self._choose(joining, logits)

    def _next_waiting(self) -> list[_Row]:
        """The oldest whose callers still wait, as long as the batch has room; an empty batch takes any one."""
        joining: list[_Row] = []
        with self._lock:
            while self._waiting and (self._waiting[0].ended or self._has_room(joining, self._waiting[0])):
                row = self._waiting.popleft()
                if not row.ended:
                    joining.append(row)
        return joining

    def _has_room(self, joining: list[_Row], row: _Row) -> bool:
        rows = [*self._running, *joining, row]
        longest = max(len(other.request.prompt) for other in (*joining, row))
        return len(rows) == 1 or (
            len(rows) <= self._limits.rows
            and sum(other.request.most_tokens for other in rows) <= self._limits.tokens
            and (not joining or longest * (len(joining) + 1) <= self._limits.prompt_tokens)
        )

    def _advance(self) -> None:
        self._leave()
        if self._running:
            self._choose(self._running, self._decoder.advance([row.tokens[-1] for row in self._running]))

    def _choose(self, rows: list[_Row], logits: Tensor) -> None:
        """logits: float [rows, V]"""
        tokens = choose([row.request.sampler for row in rows], logits)
        told = likelihoods(logits, tokens, [row.request.logprobs for row in rows])
        for row, token in zip(rows, map(Token, tokens, told), strict=True):
            self._take(row, token)

    def _take(self, row: _Row, token: Token) -> None:
        """Give a token out, or end the row with it."""
        if token.id in self._end_tokens:
            _end(row, "stop")
            return
        row.tokens.append(token.id)
        _send(row, token)
        if len(row.tokens) == row.request.max_tokens:
            _end(row, "length")


def _end(row: _Row, reason: FinishReason) -> None:
    row.ended = True
    row.request.finish_reason = reason
    _send(row, None)


def _fail(rows: list[_Row], error: Exception) -> None:
    for row in rows:
        if not row.ended:
            row.ended = True
            _send(row, error)


def _send(row: _Row, token: Token | Exception | None) -> None:
    try:
        row.loop.call_soon_threadsafe(row.arrived.put_nowait, token)
    except RuntimeError:
        row.ended = True  # the event loop has closed: nobody waits any more
