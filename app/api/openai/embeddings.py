"""`/openai/v1/embeddings`: a vector for each input, as numbers or as base64, which the client asks for by itself."""

import asyncio
import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field
from pydantic_core import from_json, to_json

from app.api.deps import Asker
from app.api.inference import get_inference, passed_on
from app.api.openai.conventions import PREFIX, OpenAIRequest, locations
from app.contract.base import Contract
from app.contract.inference import Operation
from app.services.inference import Inference

router = APIRouter(prefix=f"{PREFIX}/embeddings", tags=["openai"])


class EmbeddingRequest(OpenAIRequest):
    """`input` is one input or a list of them: texts, or for autoencoders what they read."""

    model: str = Field(max_length=200)
    input: str | Annotated[list[Any], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None

    def inputs(self) -> list[Any]:
        """Numbers are one vector of features, and a list of anything else a list of inputs."""
        is_one = isinstance(self.input, str) or isinstance(self.input[0], int | float)
        return [self.input] if is_one else list(self.input)


class EmbeddingUsage(Contract):
    """Of the texts, without those that frame them; 0 where inputs are no texts."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Contract):
    """In base64 it is little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingList(Contract):
    object: Literal["list"] = "list"
    data: Sequence[Embedding]
    model: str
    usage: EmbeddingUsage


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A field is not supported here."},
    404: {"description": "This project has no such model or alias."},
}


@router.post("", response_model=EmbeddingList, responses=REFUSALS)
async def create_openai_embeddings(
    body: EmbeddingRequest,
    request: Request,
    caller: Asker,
    inference: Annotated[Inference, Depends(get_inference)],
) -> Response:
    """One vector for each input: the mean over the tokens of a text, the code of an autoencoder."""
    body.refuse_unknown()
    return await passed_on(request, _embedded(body, caller.project_id, inference))


async def _embedded(body: EmbeddingRequest, project_id: str, inference: Inference) -> bytes:
    with locations({"inputs": "input"}):
        asked = to_json({"inputs": body.inputs()})
        answer = await inference.answer(project_id, body.model, Operation.EMBED, asked)
    return await asyncio.to_thread(_told, answer, body)


def _told(answer: bytes, body: EmbeddingRequest) -> bytes:
    told = from_json(answer)
    vectors: list[list[float]] = told["embeddings"]
    usage = EmbeddingUsage(prompt_tokens=told["num_tokens"], total_tokens=told["num_tokens"])
    encode = _base64 if body.encoding_format == "base64" else list
    data = [Embedding(index=index, embedding=encode(vector)) for index, vector in enumerate(vectors)]
    return EmbeddingList(data=data, model=body.model, usage=usage).model_dump_json().encode()


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
