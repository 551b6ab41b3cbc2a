"""`/openai/v1/completions`: text that continues a prompt, whole or as a stream."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from app.api.deps import Asker
from app.api.inference import get_inference, passed_on
from app.api.openai.conventions import PREFIX, unsupported
from app.api.openai.generation import (
    MAX_CHOICES,
    Asked,
    GenerationRequest,
    Generations,
    Placed,
    TokenCount,
    Usage,
    check_choices,
    streamed,
    usage_of,
)
from app.contract.base import Contract
from app.contract.inference import GeneratedText, LikelyToken, TokenLogprob
from app.services.inference import Inference

router = APIRouter(prefix=f"{PREFIX}/completions", tags=["openai"])

#: OpenAI's bound.
MAX_LOGPROBS = 5

STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    400: {"description": "A field asks for what is not supported here."},
    404: {"description": "This project has no such model or alias."},
}


class CompletionRequest(GenerationRequest):
    """`max_tokens` is OpenAI's default; other fields of OpenAI's may stand at what changes nothing."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MAX_CHOICES)]
    max_tokens: TokenCount | None = None
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS)
    echo: bool | None = Field(default=None, description="Each text begins with its prompt.")
    best_of: int | None = Field(default=None, description="Only as many as n: all are given.")

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def prompts(self) -> list[str]:
        """One for each choice; the choices of a prompt stand side by side."""
        given = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        check_choices(len(given) * self.num_choices)
        return [prompt for prompt in given for _ in range(self.num_choices)]

    @property
    def beginnings(self) -> list[str]:
        """What each text begins with."""
        return self.prompts if self.echo else [""] * len(self.prompts)

    def asked(self) -> list[Asked]:
        if self.best_of not in {None, self.num_choices}:
            raise unsupported("best_of", f"best_of is not supported but as n, {self.num_choices}: leave it out.")
        if self.echo and self.logprobs is not None:
            raise unsupported("logprobs", "logprobs of an echoed prompt are not supported: leave out echo or logprobs.")
        further = {"max_tokens": self.max_tokens or 16, "logprobs": self.logprobs}
        return [
            Asked({"prompt": prompt}, self.parameters(index % self.num_choices, **further))
            for index, prompt in enumerate(self.prompts)
        ]


class CompletionLogprobs(Contract):
    """One of each for each token, by its text or, where that is no whole character, by its bytes. The token itself is
    among the likeliest even where it is none of them."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]

    @classmethod
    def of(cls, told: Sequence[TokenLogprob] | None) -> "CompletionLogprobs | None":
        if told is None:
            return None
        return cls(
            tokens=[_spelled(token) for token in told],
            token_logprobs=[token.logprob for token in told],
            top_logprobs=[{_spelled(each): each.logprob for each in (*token.top_logprobs, token)} for token in told],
            text_offset=[token.text_offset for token in told],
        )


def _spelled(token: LikelyToken) -> str:
    """As OpenAI spells tokens, by their text, and parts of a character by their bytes: `bytes:\\xf0\\x9f`."""
    if token.bytes is None or token.token.encode() == bytes(token.bytes):
        return token.token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.bytes)


class CompletionChoice(Contract):
    """`finish_reason` is null in a stream until the choice's last chunk."""

    index: int
    text: str
    finish_reason: Literal["stop", "length"] | None
    logprobs: CompletionLogprobs | None = None


class Completion(Contract):
    """Also a chunk of a stream. Its last chunk has no choices where `usage` was asked for."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: Sequence[CompletionChoice]
    usage: Usage | None = None


@router.post("", response_model=Completion, responses=STREAM)
async def create_openai_completion(
    body: CompletionRequest,
    request: Request,
    caller: Asker,
    inference: Annotated[Inference, Depends(get_inference)],
) -> Response:
    """Continue a prompt, or each of several, `n` times. With `stream`, chunks as server-sent events."""
    body.refuse_unknown()
    generations = Generations(inference, caller.project_id, body.model)
    answer = _Answer(body)
    if body.stream:
        return await streamed(generations.pieces(body.asked()), answer.chunks)
    return await passed_on(request, answer.whole(generations))


class _Answer:
    def __init__(self, body: CompletionRequest) -> None:
        self._body = body
        self._id, self._created = f"cmpl-{uuid4().hex}", int(time.time())

    async def whole(self, generations: Generations) -> bytes:
        generated = await generations.whole(self._body.asked())
        choices = [
            CompletionChoice(
                index=index,
                text=beginning + each.text,
                finish_reason=each.finish_reason,
                logprobs=CompletionLogprobs.of(each.logprobs),
            )
            for index, (beginning, each) in enumerate(zip(self._body.beginnings, generated, strict=True))
        ]
        return self._completion(choices, usage_of(generated, self._body.num_choices)).model_dump_json().encode()

    async def chunks(self, pieces: AsyncIterator[Placed]) -> AsyncIterator[Completion]:
        for index, beginning in enumerate(self._body.beginnings):
            if beginning:
                yield self._chunk(index, beginning, None, None)
        ends: dict[int, GeneratedText] = {}
        async for index, piece in pieces:
            if isinstance(piece, GeneratedText):
                ends[index] = piece
                yield self._chunk(index, "", None, piece.finish_reason)
            else:
                yield self._chunk(index, piece.text, CompletionLogprobs.of(piece.logprobs), None)
        if self._body.wants_usage:
            yield self._completion([], usage_of([ends[index] for index in sorted(ends)], self._body.num_choices))

    def _chunk(
        self, index: int, text: str, logprobs: CompletionLogprobs | None, end: Literal["stop", "length"] | None
    ) -> Completion:
        return self._completion([CompletionChoice(index=index, text=text, finish_reason=end, logprobs=logprobs)])

    def _completion(self, choices: Sequence[CompletionChoice], usage: Usage | None = None) -> Completion:
        return Completion(id=self._id, created=self._created, model=self._body.model, choices=choices, usage=usage)
