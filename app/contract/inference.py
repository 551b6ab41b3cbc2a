"""What the api and an inference replica say to each other: `POST /infer` with an InferenceRequest; `POST /load` and
`POST /unload` with a ModelReference.

A replica needs no database to answer: the request names the model's files by digest. Its answer is the user's own, too.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from app.contract.base import Contract
from app.contract.checkpoint import FileEntry

#: What the large layers of a served model compute in.
Precision = Literal["float32", "bfloat16", "int8"]


class Operation(StrEnum):
    PREDICT = "predict"
    GENERATE = "generate"
    EMBED = "embed"


class ModelReference(Contract):
    """Where a model lies: each file of `files` is at `{artifact_prefix}/{path}` of the artifact store."""

    model_id: str
    digest: str
    artifact_prefix: str
    files: Annotated[tuple[FileEntry, ...], Field(strict=False)]

    @property
    def size_bytes(self) -> int:
        """What a replica counts the model with while it is in memory."""
        return sum(file.size_bytes for file in self.files)


class InferenceRequest(Contract):
    """`body` is the user's own, opaque to the api: the model's predictor validates it."""

    model: ModelReference
    operation: Annotated[Operation, Field(strict=False)]
    body: dict[str, Any]


class LikelyToken(Contract):
    """`token` is its text: a part of a character shows as U+FFFD, and `bytes` tells which. A special token is no text:
    it has its name, and no bytes. `logprob`: a natural logarithm, of the probability that the model itself gives,
    before penalty, temperature and cuts.
    """

    token: str
    bytes: list[int] | None
    logprob: float


class TokenLogprob(LikelyToken):
    """A token of an answer, which begins `text_offset` characters into the text. `top_logprobs`: the likeliest at its
    place, the likeliest first."""

    text_offset: int
    top_logprobs: list[LikelyToken]


class GeneratedText(Contract):
    """`num_tokens` counts the answer's tokens, also those that a stop sequence cut off. `logprobs`, where asked for,
    tells each whose text is in the answer."""

    text: str
    finish_reason: Literal["stop", "length"]
    num_prompt_tokens: int
    num_tokens: int
    logprobs: list[TokenLogprob] | None = None


class TextPiece(Contract):
    """Text as it becomes final. In a stream, `logprobs` of the tokens whose text has begun with it."""

    text: str
    logprobs: list[TokenLogprob] | None = None


class Loaded(Contract):
    """A model is in the memory of a replica. `load_seconds` is what bringing it there took: 0 where it was there.
    `precision`: in which its large layers compute there."""

    model_id: str
    replica_id: str
    load_seconds: float
    precision: Precision


class Unloaded(Contract):
    """A model is not, or no longer, in the memory of a replica; `was_loaded` tells which."""

    replica_id: str
    was_loaded: bool
