"""What the api and an inference replica say to each other: `POST /infer` with an InferenceRequest.

A replica needs no database to answer: the request names the model's files by digest.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from app.contract.base import Contract
from app.contract.checkpoint import FileEntry


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


class InferenceRequest(Contract):
    """`body` is the user's own, opaque to the api: the model's predictor validates it."""

    model: ModelReference
    operation: Annotated[Operation, Field(strict=False)]
    body: dict[str, Any]
