"""`/v1/models/{model}/predict`, `generate` and `embed`, whose answers are passed through as bytes, never parsed here;
and `load` and `unload`.
"""

import asyncio
from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.api.deps import Asker, Caller, Services, Writer, get_services
from app.contract.base import Contract
from app.contract.inference import GeneratedText, Loaded, Operation
from app.services.inference import Inference, UnloadedModel

questions = APIRouter(prefix="/v1/models", tags=["inference"])
router = APIRouter(prefix="/v1/models", tags=["inference"])

#: Nobody reads the answer to a client that has gone; logs show it by nginx's code.
CLIENT_GONE = 499


class InputsRequest(Contract):
    """Inputs are given as they were uploaded: a text, a list of features, an image as nested lists or base64.

    Sequence labeling takes a text or `{"tokens": [...]}`: `start` and `end` of its spans count the characters of that
    text, or those tokens, the end exclusive. Semantic role labeling takes `{"tokens": [...], "predicate": index}`.
    """

    inputs: list[Any]
    parameters: dict[str, Any] = Field(default_factory=dict)


class GenerateRequest(Contract):
    """A language model takes a `prompt`, or `messages` of a conversation (each of a `role` and a `content`), and
    `parameters` of `max_tokens`, `temperature`, `top_k`, `top_p`, `repetition_penalty`, `logprobs`, `seed`, `stop`; a
    GAN takes `parameters` of `count` and `seed`.
    """

    prompt: str | None = None
    messages: list[dict[str, str]] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    stream: bool = False


class Predictions(Contract):
    """One output for each input, in order."""

    model_id: str
    outputs: list[dict[str, Any]]


class Embeddings(Contract):
    """`num_tokens`: of the texts, as the model reads them, without those that frame each; 0 where inputs are no
    texts."""

    model_id: str
    embeddings: list[list[float]]
    num_tokens: int


class GeneratedSamples(Contract):
    """A GAN's, in the shape and scale of its training data."""

    samples: list[list[Any]]


async def get_inference(services: Annotated[Services, Depends(get_services)]) -> Inference:
    return Inference(services.database, services.inference)


_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
_TOO_LARGE: dict[int | str, dict[str, Any]] = {422: {"description": "It is larger than a replica's memory for models."}}
_PINNED: dict[int | str, dict[str, Any]] = {409: {"description": "It is pinned."}}
InferenceService = Annotated[Inference, Depends(get_inference)]


@questions.post("/{model:path}/predict", response_model=Predictions)
async def predict(
    *,
    model: str,
    body: InputsRequest,  # noqa: ARG001  its outline is judged; it goes on as it came
    request: Request,
    caller: Asker,
    inference: InferenceService,
) -> Response:
    """Ask a model, by id or alias, for one output for each input."""
    return await _answered(Operation.PREDICT, model, request, caller, inference)


@questions.post("/{model:path}/embed", response_model=Embeddings)
async def embed(
    *,
    model: str,
    body: InputsRequest,  # noqa: ARG001  its outline is judged; it goes on as it came
    request: Request,
    caller: Asker,
    inference: InferenceService,
) -> Response:
    """One vector for each input: the mean over the tokens of a text, the code of an autoencoder."""
    return await _answered(Operation.EMBED, model, request, caller, inference)


@questions.post("/{model:path}/generate", response_model=GeneratedText | GeneratedSamples, responses=_STREAM)
async def generate(
    model: str, body: GenerateRequest, request: Request, caller: Asker, inference: InferenceService
) -> Response:
    """Continue a prompt, or draw samples from a GAN. With `stream`, server-sent events: pieces of `text`, with the
    `logprobs` of the tokens that begin in it where they are asked for; the last with its `finish_reason`.
    """
    if body.stream:
        events = await inference.stream(caller.project_id, model, await request.body())
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    return await _answered(Operation.GENERATE, model, request, caller, inference)


async def _answered(
    operation: Operation, model: str, request: Request, caller: Caller, inference: Inference
) -> Response:
    """To the body as the user sent it: its outline is in order, and the rest is for the model's predictor to judge."""
    return await passed_on(request, inference.answer(caller.project_id, model, operation, await request.body()))


@router.post("/{model:path}/load", responses=_TOO_LARGE)
async def load_model(model: str, caller: Writer, inference: InferenceService) -> Loaded:
    """Bring a model into the memory of the replica that answers for it, and answer when it is there. Asked again, it
    changes nothing. What is used least recently makes room.
    """
    return await inference.load(caller.project_id, model)


@router.post("/{model:path}/unload", responses=_PINNED)
async def unload_model(model: str, caller: Writer, inference: InferenceService) -> UnloadedModel:
    """Take a model out of the memory of every replica. Requests under way are answered first; the next one loads it
    again.
    """
    return await inference.unload(caller.project_id, model)


async def passed_on(request: Request, answer: Awaitable[bytes]) -> Response:
    """The answer, or nothing as soon as the client goes away: then the replica stops computing for it."""
    work = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(lambda _: work.cancel())
    try:
        return Response(await work, media_type="application/json")
    except asyncio.CancelledError:
        if not gone.done():
            raise
        return Response(status_code=CLIENT_GONE)
    finally:
        work.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
