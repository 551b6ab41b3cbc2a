"""Generations as completions need them: several at a time, whole or in pieces. Knows neither of the two resources."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi.responses import StreamingResponse
from pydantic import Field
from pydantic_core import from_json, to_json

from app.api.errors import openai_error
from app.api.openai.conventions import OpenAIRequest, locations, refused
from app.contract.base import Contract
from app.contract.errors import ErrorCode, ServiceError, Unavailable
from app.contract.inference import GeneratedText, Operation, TextPiece
from app.contract.parameters import StopText
from app.services.inference import Inference

#: Each is a request of its own to a replica.
MAX_CHOICES = 64
MAX_SEED = 2**63
MAX_TOKENS = 1_048_576
STREAM_TYPE = "text/event-stream"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


TokenCount = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class Usage(Contract):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class StreamOptions(OpenAIRequest):
    include_usage: bool | None = None


class GenerationRequest(OpenAIRequest):
    """`top_k` and `repetition_penalty` are ours; the client sends them by `extra_body`."""

    model: str = Field(max_length=200)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    seed: int | None = Field(default=None, ge=0, lt=MAX_SEED)
    stop: StopText | list[StopText] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    def parameters(self, choice: int, **further: object) -> dict[str, object]:
        """For one of the `n` choices, which differ also where the seed is given. Null is as good as left out."""
        names = ("temperature", "top_p", "top_k", "repetition_penalty", "stop")
        wanted = {name: getattr(self, name) for name in names} | further
        if self.seed is not None:
            wanted["seed"] = (self.seed + choice) % MAX_SEED
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Asked:
    """`given`: the prompt, or the messages."""

    given: dict[str, object]
    parameters: dict[str, object]

    def body(self, *, stream: bool) -> bytes:
        return to_json(self.given | {"parameters": self.parameters, "stream": stream})


#: A piece of text, or the end of its choice, whose text is empty.
Piece = TextPiece | GeneratedText
#: The place of a choice among all, and its next piece.
Placed = tuple[int, Piece]


def check_choices(count: int) -> None:
    if count > MAX_CHOICES:
        raise refused("n", f"{count} choices are asked for, prompts times n; one request gives at most {MAX_CHOICES}.")


def usage_of(generated: Sequence[GeneratedText], num_choices: int) -> Usage:
    """A prompt counts once, however many choices it has; those stand side by side."""
    prompts = sum(each.num_prompt_tokens for each in generated[::num_choices])
    completions = sum(each.num_tokens for each in generated)
    return Usage(prompt_tokens=prompts, completion_tokens=completions, total_tokens=prompts + completions)


@dataclass(frozen=True, slots=True)
class Generations:
    inference: Inference
    project_id: str
    model: str

    async def whole(self, asked: Sequence[Asked]) -> list[GeneratedText]:
        """All of them; or the first error, after which none goes on."""
        tasks = [asyncio.ensure_future(self._whole(each)) for each in asked]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _ended(tasks)

    async def pieces(self, asked: Sequence[Asked]) -> AsyncGenerator[Placed, None]:
        """Pieces of all, as they come. The first error ends them all."""
        arrived: asyncio.Queue[Placed | Exception] = asyncio.Queue(1)
        tasks = [asyncio.ensure_future(self._pass_on(place, each, arrived)) for place, each in enumerate(asked)]
        try:
            unfinished = len(asked)
            while unfinished:
                item = await arrived.get()
                if isinstance(item, Exception):
                    raise item
                unfinished -= isinstance(item[1], GeneratedText)
                yield item
        finally:
            await _ended(tasks)

    async def _whole(self, asked: Asked) -> GeneratedText:
        with locations(self._names):
            answer = await self.inference.answer(
                self.project_id, self.model, Operation.GENERATE, asked.body(stream=False)
            )
        return GeneratedText.model_validate_json(answer)

    async def _pass_on(self, place: int, asked: Asked, arrived: "asyncio.Queue[Placed | Exception]") -> None:
        try:
            with locations(self._names):
                events = await self.inference.stream(self.project_id, self.model, asked.body(stream=True))
            async with aclosing(_pieces(events)) as pieces:
                async for piece in pieces:
                    await arrived.put((place, piece))
        except Exception as error:  # noqa: BLE001  raised again where the pieces are taken
            await arrived.put(error)

    @property
    def _names(self) -> dict[str, str]:
        return {"parameters": ""}


async def streamed(
    pieces: AsyncGenerator[Placed, None], encode: Callable[[AsyncIterator[Placed]], AsyncIterator[Contract]]
) -> StreamingResponse:
    """Server-sent events of what `encode` makes of the pieces. An error before the first piece is raised here."""
    first = await anext(pieces)
    return StreamingResponse(_events(encode(_again(first, pieces))), media_type=STREAM_TYPE, headers=STREAM_HEADERS)


async def _again(first: Placed, others: AsyncGenerator[Placed, None]) -> AsyncGenerator[Placed, None]:
    async with aclosing(others):
        yield first
        async for item in others:
            yield item


async def _events(chunks: AsyncIterator[Contract]) -> AsyncGenerator[bytes, None]:
    """The client takes a silent end for success, and so does it `[DONE]`: a stream that breaks sends an error first."""
    try:
        async for chunk in chunks:
            yield b"data: " + chunk.model_dump_json().encode() + b"\n\n"
    except ServiceError as error:
        yield b"data: " + to_json({"error": openai_error(error)}) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def _pieces(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[Piece, None]:
    """Of a replica's server-sent events. Raises ServiceError where they tell of one, or end too early."""
    async with aclosing(_whole_events(chunks)) as events:
        async for event in events:
            match event:
                case {"error": error}:
                    raise _told_error(error)
                case {"finish_reason": _}:
                    yield GeneratedText.model_validate(event)
                    return
                case _:
                    yield TextPiece.model_validate(event)
    raise Unavailable("The generation broke off.")


async def _whole_events(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[dict[str, Any], None]:
    """Events end with an empty line; chunks end anywhere."""
    pending = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            *events, pending = (pending + chunk).split(b"\n\n")
            for event in filter(None, map(_parsed, events)):
                yield event


def _parsed(event: bytes) -> dict[str, Any] | None:
    """None for half an event: what broke it off is told next."""
    try:
        parsed: dict[str, Any] = from_json(event.rpartition(b"data: ")[2])
    except ValueError:
        return None
    return parsed


def _told_error(error: dict[str, Any]) -> ServiceError:
    told = Unavailable if error["code"] == ErrorCode.UNAVAILABLE else ServiceError
    return told(str(error["message"]), code=ErrorCode(error["code"]))


async def _ended(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
