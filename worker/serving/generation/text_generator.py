"""Generates text for one model: tokenises the prompt, asks the scheduler for tokens, and gives text back."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from app.contract.base import Contract
from app.contract.errors import FieldError
from worker.serving.device import Device
from worker.serving.errors import InvalidInput
from worker.serving.generation.request import GenerateBody
from worker.serving.generation.sampling import Sampler
from worker.serving.generation.scheduler import Decoder, Scheduler, TokenRequest
from worker.serving.generation.text import TextStream


class Finish(Contract):
    """How a generation ended; `num_tokens` counts the answer's tokens, also those a stop sequence cut off."""

    finish_reason: Literal["stop", "length"]
    num_prompt_tokens: int
    num_tokens: int


Piece = str | Finish


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that the model can take. `num_prompt_tokens` does not count the begin token."""

    body: GenerateBody
    tokens: TokenRequest
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class GenerativeModel:
    """`begin_token` opens every prompt, as it opened every text in training; one of `end_tokens` ends the answer."""

    decoder: Decoder
    tokenizer: Tokenizer
    begin_token: int
    end_tokens: frozenset[int]
    context_length: int


class TextGenerator:
    def __init__(self, model: GenerativeModel, device: Device) -> None:
        self._model = model
        self._scheduler = Scheduler(device, model.decoder, model.end_tokens)

    def prepare(self, body: GenerateBody) -> Prepared:
        """Raises InvalidInput where the prompt leaves no room for an answer. Costs what tokenising costs."""
        prompt = self._model.tokenizer.encode(body.prompt, add_special_tokens=False).ids
        context = self._model.context_length
        room = context - len(prompt)  # the begin token takes a place, the last answer token none
        if room < 1:
            message = (
                f"The prompt has {len(prompt):,} tokens; with a context of {context:,} tokens the model takes "
                f"at most {context - 1:,}."
            )
            raise InvalidInput(message, errors=[FieldError(location="prompt", message=message)])
        wanted = body.parameters
        sampler = Sampler.seeded(
            temperature=wanted.temperature, top_k=wanted.top_k, top_p=wanted.top_p, seed=wanted.seed
        )
        request = TokenRequest([self._model.begin_token, *prompt], min(wanted.max_tokens, room), sampler)
        return Prepared(body, request, len(prompt))

    async def pieces(self, prepared: Prepared) -> AsyncGenerator[Piece, None]:
        """Text as it becomes final, then one Finish. Closing the iterator stops the generation."""
        stream = TextStream(self._model.tokenizer, prepared.body.parameters.stops)
        num_tokens = 0
        async with aclosing(self._scheduler.tokens(prepared.tokens)) as tokens:
            async for token in tokens:
                num_tokens += 1
                if text := stream.push(token):
                    yield text
                if stream.stopped:
                    break
        if rest := stream.flush():
            yield rest
        reason = "stop" if stream.stopped else prepared.tokens.finish_reason
        assert reason is not None
        yield Finish(finish_reason=reason, num_prompt_tokens=prepared.num_prompt_tokens, num_tokens=num_tokens)
