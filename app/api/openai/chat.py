"""`/openai/v1/chat/completions`: a language model continues a conversation, in the template that it was taught."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from app.api.deps import Asker
from app.api.inference import get_inference, passed_on
from app.api.openai.completions import STREAM
from app.api.openai.conventions import PREFIX, refused
from app.api.openai.generation import (
    MAX_TOKENS,
    Asked,
    GenerationRequest,
    Generations,
    Placed,
    TokenCount,
    Usage,
    streamed,
    usage_of,
)
from app.api.openai.messages import Message, told
from app.contract.base import Contract
from app.contract.errors import FieldError, InvalidRequest
from app.contract.inference import GeneratedText, LikelyToken, TokenLogprob
from app.contract.parameters import MAX_LOGPROBS
from app.services.inference import Inference

router = APIRouter(prefix=f"{PREFIX}/chat/completions", tags=["openai"])


class ChatRequest(GenerationRequest):
    messages: Annotated[list[Message], Field(min_length=1, max_length=1_000)]
    max_completion_tokens: TokenCount | None = None
    max_tokens: TokenCount | None = Field(default=None, description="The older name of max_completion_tokens.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)

    @property
    def num_choices(self) -> int:
        return self.n or 1

    def asked(self) -> list[Asked]:
        """Where no bound is given, until the model ends or its context is full, as OpenAI has it."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise refused("max_tokens", "max_tokens and max_completion_tokens are both given: leave the former out.")
        max_tokens = self.max_completion_tokens or self.max_tokens or MAX_TOKENS
        given: dict[str, object] = {"messages": told(self.messages)}
        further = {"max_tokens": max_tokens, "logprobs": self._wanted_logprobs()}
        return [Asked(given, self.parameters(choice, **further)) for choice in range(self.num_choices)]

    def _wanted_logprobs(self) -> int | None:
        if self.logprobs:
            return self.top_logprobs or 0
        if self.top_logprobs:
            message = "top_logprobs are told beside logprobs: set logprobs to true, or leave top_logprobs out."
            raise InvalidRequest(message, errors=[FieldError(location="top_logprobs", message=message)])
        return None


class ChatTokenLogprob(LikelyToken):
    """`top_logprobs`: the likeliest at its place, the likeliest first."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(Contract):
    content: list[ChatTokenLogprob]
    refusal: None = None

    @classmethod
    def of(cls, told: Sequence[TokenLogprob] | None) -> "ChatLogprobs | None":
        return None if told is None else cls(content=[_chat_logprob(token) for token in told])


def _chat_logprob(token: TokenLogprob) -> ChatTokenLogprob:
    return ChatTokenLogprob.model_validate(token.model_dump(exclude={"text_offset"}))


class ChatMessage(Contract):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Contract):
    index: int
    message: ChatMessage
    finish_reason: Literal["stop", "length"]
    logprobs: ChatLogprobs | None = None


class ChatCompletion(Contract):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: Sequence[ChatChoice]
    usage: Usage


class ChatDelta(Contract):
    """The first of a choice tells the role."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(Contract):
    index: int
    delta: ChatDelta
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(Contract):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: Sequence[ChatChunkChoice]
    usage: Usage | None = None


@router.post("", response_model=ChatCompletion, responses=STREAM)
async def create_openai_chat_completion(
    body: ChatRequest,
    request: Request,
    caller: Asker,
    inference: Annotated[Inference, Depends(get_inference)],
) -> Response:
    """Continue a conversation, `n` times. With `stream`, chunks as server-sent events."""
    body.refuse_unknown()
    generations = Generations(inference, caller.project_id, body.model)
    answer = _Answer(body)
    if body.stream:
        return await streamed(generations.pieces(body.asked()), answer.chunks)
    return await passed_on(request, answer.whole(generations))


class _Answer:
    def __init__(self, body: ChatRequest) -> None:
        self._body = body
        self._id, self._created = f"chatcmpl-{uuid4().hex}", int(time.time())

    async def whole(self, generations: Generations) -> bytes:
        generated = await generations.whole(self._body.asked())
        choices = [
            ChatChoice(
                index=index,
                message=ChatMessage(content=each.text),
                finish_reason=each.finish_reason,
                logprobs=ChatLogprobs.of(each.logprobs),
            )
            for index, each in enumerate(generated)
        ]
        usage = usage_of(generated, self._body.num_choices)
        answer = ChatCompletion(
            id=self._id, created=self._created, model=self._body.model, choices=choices, usage=usage
        )
        return answer.model_dump_json().encode()

    async def chunks(self, pieces: AsyncIterator[Placed]) -> AsyncIterator[ChatChunk]:
        for index in range(self._body.num_choices):
            yield self._chunk(index, ChatDelta(role="assistant", content=""))
        ends: dict[int, GeneratedText] = {}
        async for index, piece in pieces:
            if isinstance(piece, GeneratedText):
                ends[index] = piece
                yield self._chunk(index, ChatDelta(), end=piece.finish_reason)
            else:
                yield self._chunk(index, ChatDelta(content=piece.text), ChatLogprobs.of(piece.logprobs))
        if self._body.wants_usage:
            yield self._completion([], usage_of(list(ends.values()), self._body.num_choices))

    def _chunk(
        self,
        index: int,
        delta: ChatDelta,
        logprobs: ChatLogprobs | None = None,
        end: Literal["stop", "length"] | None = None,
    ) -> ChatChunk:
        return self._completion([ChatChunkChoice(index=index, delta=delta, finish_reason=end, logprobs=logprobs)])

    def _completion(self, choices: Sequence[ChatChunkChoice], usage: Usage | None = None) -> ChatChunk:
        return ChatChunk(id=self._id, created=self._created, model=self._body.model, choices=choices, usage=usage)
