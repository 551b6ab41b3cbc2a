"""Continuous batching: requests join and leave the running batch between steps. Knows no text, no HTTP, no model.

One step: those whose caller has gone leave; some that wait are let in, as far as there is memory; prompts are read on,
a bounded number of tokens; then each running request gets one token from a single forward pass. So a long prompt is
read in chunks, between which the others go on.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from app.contract.errors import Overloaded
from app.tracing import Stages
from worker.serving.device import Turns
from worker.serving.generation.memory import CacheMemory
from worker.serving.generation.meter import TextMeter
from worker.serving.generation.sampling import Likelihood, Sampler, choose, likelihoods

logger = logging.getLogger(__name__)

FinishReason = Literal["stop", "length"]


class Reading(Protocol):
    """A prompt that is being read, beside the running rows."""

    def read(self, tokens: Sequence[int]) -> Tensor:
        """Read on -> logits of the token behind, float [V]."""


class Decoder(Protocol):
    """The model with the state of the running rows. A recurrent model's state serves as well as a cache."""

    @property
    def held_bytes(self) -> int:
        """What the running rows' state takes now."""

    def bytes_for(self, num_rows: int, num_tokens: int) -> int:
        """What so many running rows take, the longest of so many tokens; a prompt of so many, read by itself, as one
        row."""

    def reserve(self, num_rows: int, num_tokens: int) -> None:
        """Be ready for so many rows, those of now included, the longest of so many tokens."""

    def begin(self, num_tokens: int) -> Reading:
        """A prompt of so many tokens, none of which is read yet."""

    def join(self, reading: Any) -> None:
        """A prompt that is read becomes a row behind the others. Where it raises, these are as they were."""

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each row -> logits of the next ones, float [rows, V]."""

    def leave(self, row: int) -> None:
        """Forget a row; the last one takes its place."""

    def clear(self) -> None:
        """Forget all rows."""


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """A step reads prompts by `chunk_tokens` of each in turn, until `prompt_tokens` are reached: so long do running
    requests wait for those that join.
    """

    rows: int = 32
    prompt_tokens: int = 256
    chunk_tokens: int = 128
    waiting: int = 256


class Token(NamedTuple):
    id: int
    likelihood: Likelihood | None = None


@dataclass(slots=True, eq=False)
class TokenRequest:
    """`logprobs`: of so many of the likeliest tokens, where those of the chosen ones are wanted at all.

    `finish_reason` is set with the last token: `stop` at an end token, which is not given out.
    """

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
    asked_at: float
    stages: Stages
    tokens: list[int] = field(default_factory=list)
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Prompt:
    """What of a row's prompt is read already; `reading` begins with the first of it."""

    row: _Row
    reading: Reading | None = None
    num_read: int = 0

    def next(self, num_tokens: int) -> Sequence[int]:
        chunk = self.row.request.prompt[self.num_read : self.num_read + num_tokens]
        self.num_read += len(chunk)
        return chunk

    @property
    def is_read(self) -> bool:
        return self.num_read == len(self.row.request.prompt)


class Scheduler:
    """Lives on one event loop; its steps run on the device's thread."""

    def __init__(
        self,
        turns: Turns,
        decoder: Decoder,
        end_tokens: frozenset[int],
        memory: CacheMemory,
        meter: TextMeter,
        *,
        limits: GenerationLimits | None = None,
    ) -> None:
        self._turns = turns
        self._decoder = decoder
        self._end_tokens = end_tokens
        self._memory = memory
        self._meter = meter
        self._limits = limits or GenerationLimits()
        self._lock = threading.Lock()
        self._waiting: deque[_Row] = deque()
        self._prompts: deque[_Prompt] = deque()
        self._running: list[_Row] = []

    async def tokens(self, request: TokenRequest) -> AsyncGenerator[Token, None]:
        """Tokens as they come; closing the iterator takes the request out of the batch. It must fit the memory.

        Raises Overloaded where too many wait, or what the model raised.
        """
        row = _Row(request, asyncio.get_running_loop(), asyncio.Queue(), perf_counter(), Stages())
        with self._lock:
            if len(self._waiting) >= self._limits.waiting:
                raise Overloaded(
                    f"{len(self._waiting)} requests wait to generate with this model already.", retry_after_seconds=1
                )
            self._waiting.append(row)
        self._turns.wake(self)
        try:
            while (token := await row.arrived.get()) is not None:
                if isinstance(token, Exception):
                    raise token
                yield token
        finally:
            row.ended = True
            row.stages.end("text", tokens=len(row.tokens))
            self._turns.wake(self)  # what it held is free

    def fits(self, num_prompt_tokens: int, max_tokens: int) -> bool:
        """Whether there is memory for such a request where no other runs."""
        needed = self._decoder.bytes_for(1, num_prompt_tokens) + self._decoder.bytes_for(
            1, num_prompt_tokens + max_tokens
        )
        return needed <= self._memory.limit_bytes

    def step(self) -> bool:
        """One token for each running request, and some of the prompts (on the device's thread)."""
        try:
            self._leave()
            self._admit()
            num_rows, began_at = len(self._in_hand()), perf_counter()
            self._read()
            self._advance()
            if num_rows:
                self._meter.computed(num_rows, perf_counter() - began_at)
        except Exception as error:
            logger.exception("A generation step failed")
            self._give_up(error)
        return bool(self._running or self._prompts)

    def _leave(self) -> None:
        self._prompts = deque(prompt for prompt in self._prompts if not prompt.row.ended)
        for place in reversed(range(len(self._running))):
            if self._running[place].ended:
                self._decoder.leave(place)
                self._running[place] = self._running[-1]
                self._running.pop()

    def _admit(self) -> None:
        """The oldest whose callers still wait, as long as there is room."""
        while (row := self._oldest_waiting()) is not None and self._has_room(row):
            self._waiting.popleft()
            self._prompts.append(_Prompt(row))
            self._meter.waited(perf_counter() - row.asked_at)
            row.stages.end("queue")
        if row is None:
            self._memory.wait_no_more(self)
        self._fit()

    def _oldest_waiting(self) -> _Row | None:
        with self._lock:
            while self._waiting and self._waiting[0].ended:
                self._waiting.popleft()
            return self._waiting[0] if self._waiting else None

    def _has_room(self, row: _Row) -> bool:
        return len(self._in_hand()) < self._limits.rows and self._memory.hold(self, self._bytes_with(row))

    def _fit(self) -> None:
        """The decoder's memory is that of the rows in hand, and what is held is no more."""
        rows = self._in_hand()
        self._decoder.reserve(len(rows), max((row.request.most_tokens for row in rows), default=0))
        self._memory.hold(self, self._bytes_with())

    def _bytes_with(self, *joining: _Row) -> int:
        """What the rows in hand and those that join take, each prompt once more while it is read."""
        rows = [*self._in_hand(), *joining]
        longest = max((row.request.most_tokens for row in rows), default=0)
        prompts = [*(prompt.row for prompt in self._prompts), *joining]
        running = max(self._decoder.held_bytes, self._decoder.bytes_for(len(rows), longest))
        return running + sum(self._decoder.bytes_for(1, len(row.request.prompt)) for row in prompts)

    def _in_hand(self) -> list[_Row]:
        return [*self._running, *(prompt.row for prompt in self._prompts)]

    def _read(self) -> None:
        """By turns, so that a short prompt does not wait for all of a long one; in chunks that no other prompt changes,
        so that the same numbers come out."""
        left = self._limits.prompt_tokens
        while self._prompts and left > 0:
            prompt = self._prompts.popleft()
            chunk = prompt.next(self._limits.chunk_tokens)
            left -= len(chunk)
            self._read_on(prompt, chunk)

    def _read_on(self, prompt: _Prompt, chunk: Sequence[int]) -> None:
        """What goes wrong with one prompt is its own caller's alone."""
        try:
            prompt.reading = prompt.reading or self._decoder.begin(len(prompt.row.request.prompt))
            logits = prompt.reading.read(chunk)
            if prompt.is_read:
                self._decoder.join(prompt.reading)
        except Exception as error:
            logger.exception("Reading a prompt failed")
            _fail([prompt.row], error)
        else:
            if prompt.is_read:
                prompt.row.stages.end("prompt", tokens=prompt.num_read)
                self._running.append(prompt.row)
                self._choose([prompt.row], logits[None])
            else:
                self._prompts.append(prompt)

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

    def _give_up(self, error: Exception) -> None:
        """Nobody in hand goes on; who waits begins afresh."""
        failed = self._in_hand()
        self._running, self._prompts = [], deque()
        self._decoder.clear()
        _fail(failed, error)
        self._memory.hold(self, 0)
        self._turns.wake(self)


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
