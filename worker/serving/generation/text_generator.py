"""Generates text for one model: tokenises the prompt, asks the scheduler for tokens, and gives text back."""

from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from tokenizers import Tokenizer

from app.contract.base import Contract
from app.contract.errors import FieldError
from app.contract.inference import TextPiece, TokenLogprob
from worker.serving.device import Turns
from worker.serving.errors import InvalidInput
from worker.serving.generation.chat import ChatFormat
from worker.serving.generation.logprobs import Logprobs
from worker.serving.generation.memory import CacheMemory
from worker.serving.generation.meter import TextMeter
from worker.serving.generation.request import GenerateBody
from worker.serving.generation.sampling import Sampler, Sampling
from worker.serving.generation.scheduler import Decoder, Scheduler, TokenRequest
from worker.serving.generation.text import TextStream


class Finish(Contract):
    """How a generation ended; `num_tokens` counts the answer's tokens, also those a stop sequence cut off."""

    finish_reason: Literal["stop", "length"]
    num_prompt_tokens: int
    num_tokens: int


Piece = TextPiece | Finish


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that the model can take. `num_prompt_tokens` does not count the begin token. `stops` end the text; the
    space that parts an answer from the speaker's name is none of it."""

    tokens: TokenRequest
    num_prompt_tokens: int
    stops: Sequence[str]
    is_answer: bool


@dataclass(frozen=True, slots=True)
class GenerativeModel:
    """`begin_token` opens every prompt, as it opened every text in training; one of `end_tokens` ends the answer.
    `chat` writes a conversation as a prompt."""

    decoder: Decoder
    tokenizer: Tokenizer
    begin_token: int
    end_tokens: frozenset[int]
    context_length: int
    chat: ChatFormat


class TextGenerator:
    def __init__(self, model: GenerativeModel, turns: Turns, memory: CacheMemory, meter: TextMeter) -> None:
        self._model = model
        self._memory = memory
        self._meter = meter
        self._scheduler = Scheduler(turns, model.decoder, model.end_tokens, memory, meter)

    def prepare(self, body: GenerateBody) -> Prepared:
        """Raises InvalidInput where the prompt leaves no room for an answer. Costs what tokenising costs."""
        prompt, stops = self._prompt(body)
        num_prompt_tokens = len(prompt) - 1
        wanted = body.parameters
        max_tokens = min(wanted.max_tokens, self._room(prompt, "prompt" if body.messages is None else "messages"))
        sampling = Sampling(wanted.temperature, wanted.top_k, wanted.top_p, wanted.repetition_penalty)
        sampler = Sampler(sampling, wanted.seed, prompt)
        request = TokenRequest(prompt, max_tokens, sampler, wanted.logprobs)
        return Prepared(request, num_prompt_tokens, [*wanted.stops, *stops], is_answer=body.messages is not None)

    async def pieces(self, prepared: Prepared) -> AsyncGenerator[Piece, None]:
        """Text as it becomes final, then one Finish. Closing the iterator stops the generation."""
        stream = TextStream(self._model.tokenizer, prepared.stops, strips_start=prepared.is_answer)
        logprobs = None if prepared.tokens.logprobs is None else Logprobs(self._model.tokenizer)
        num_tokens, asked_at = 0, perf_counter()
        try:
            async with aclosing(self._scheduler.tokens(prepared.tokens)) as tokens:
                async for token in tokens:
                    if not num_tokens:
                        self._meter.began(perf_counter() - asked_at)
                    num_tokens += 1
                    if logprobs is not None and token.likelihood is not None:
                        logprobs.push(token.id, token.likelihood)
                    if text := stream.push(token.id):
                        yield _piece(text, stream, logprobs)
                    if stream.stopped:
                        break
        finally:
            self._meter.generated(num_tokens)
        last = _piece(stream.flush(), stream, logprobs)
        if last.text or last.logprobs:
            yield last
        reason = "stop" if stream.stopped else prepared.tokens.finish_reason
        assert reason is not None
        yield Finish(finish_reason=reason, num_prompt_tokens=prepared.num_prompt_tokens, num_tokens=num_tokens)

    async def answer(self, prepared: Prepared) -> dict[str, Any]:
        """The same as a whole, ready for JSON."""
        text: list[str] = []
        logprobs: list[TokenLogprob] = []
        async with aclosing(self.pieces(prepared)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Finish):
                    told = {} if prepared.tokens.logprobs is None else {"logprobs": logprobs}
                    return {"text": "".join(text), **piece.model_dump(), **told}
                text.append(piece.text)
                logprobs += piece.logprobs or ()
        raise AssertionError("pieces end with a Finish")

    def _room(self, prompt: Sequence[int], name: str) -> int:
        """How many tokens an answer may have: as many as the context has left, and the memory of the cache."""
        context = self._model.context_length
        left = context + 1 - len(prompt)  # neither the begin token nor the last one of an answer takes a place
        told = f"The {name} {'has' if name == 'prompt' else 'have'} {len(prompt) - 1:,} tokens"
        if left < 1:
            raise _refused(
                name, f"{told}; with a context of {context:,} tokens the model takes at most {context - 1:,}."
            )
        room = bisect_left(range(1, left + 1), True, key=lambda tokens: not self._scheduler.fits(len(prompt), tokens))
        if not room:
            limit = self._memory.limit_bytes
            raise _refused(
                name,
                f"{told}: that is more than the {limit:,} bytes that a replica has for what it has read "
                "(PRETUNE_GENERATION_CACHE_BYTES). Give a shorter one.",
            )
        return room

    def _prompt(self, body: GenerateBody) -> tuple[list[int], Sequence[str]]:
        """The tokens, the begin token first; and what ends an answer of itself."""
        match body.prompt, body.messages:
            case str(text), None:
                tokens = self._model.tokenizer.encode(text, add_special_tokens=False).ids
                return [self._model.begin_token, *tokens], ()
            case None, tuple(messages):
                chat = self._model.chat
                return chat.prompt([message.model_dump() for message in messages]), chat.stops
        given = "neither" if body.prompt is None else "both"
        raise _refused("prompt", f"Give a prompt, or the messages of a conversation; {given} is given.")


def _piece(text: str, stream: TextStream, logprobs: Logprobs | None) -> TextPiece:
    return TextPiece(text=text) if logprobs is None else TextPiece(text=text, logprobs=logprobs.told(stream.begun()))


def _refused(location: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[FieldError(location=location, message=message)])
