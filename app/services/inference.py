"""The rules of inference: whose model it is, and what becomes of the question. Inputs and outputs stay opaque.

Models are loaded by the first question, too: `load` only spares it the wait.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic_core import to_json
from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import Conflict, ErrorCode, NotFound, ServiceError
from app.contract.inference import Loaded, ModelReference, Operation
from app.db import models
from app.db.session import Database
from app.db.tables import ModelRow
from app.inference_client import InferenceClient, RoutedModel
from app.inference_client.connection import ConnectionFailed


class UnloadedModel(Contract):
    """`unloaded_from` lists the replicas that held the model."""

    model_id: str
    unloaded_from: list[str]


@dataclass(frozen=True, slots=True)
class Inference:
    """Asynchronous, since a handler only waits here; the one database look-up runs in a thread."""

    database: Database
    client: InferenceClient

    async def answer(self, project_id: str, model: str, operation: Operation, body: bytes) -> bytes:
        """The JSON answer to a body that is valid JSON. Raises NotFound, and what the model's replica raises."""
        return await self.client.infer(await self._routed(project_id, model), operation, body)

    async def stream(self, project_id: str, model: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Server-sent events of a generation; what goes wrong before the first is raised here."""
        return _told(await self.client.stream(await self._routed(project_id, model), body))

    async def load(self, project_id: str, model: str) -> Loaded:
        """Raises NotFound, Unavailable where no replica lives, and what the replica raises: too large, damaged."""
        return await self.client.load(await self._routed(project_id, model))

    async def unload(self, project_id: str, model: str) -> UnloadedModel:
        """Raises NotFound, and Conflict where the model is pinned."""
        routed = await asyncio.to_thread(self._unpinned, project_id, model)
        answers = await self.client.unload(routed)
        return UnloadedModel(
            model_id=routed.model_id, unloaded_from=[answer.replica_id for answer in answers if answer.was_loaded]
        )

    async def _routed(self, project_id: str, model: str) -> RoutedModel:
        """By id or alias, of this project. Aliases are always read anew: who moves one expects the very next request
        to follow.
        """
        if known := self.client.routes.get(project_id, model):
            return known
        routed = await asyncio.to_thread(self._read, project_id, model)
        self.client.routes.put(project_id, routed)
        return routed

    def _read(self, project_id: str, model: str) -> RoutedModel:
        with self.database.reading() as session:
            return _route(_model(session, project_id, model))

    def _unpinned(self, project_id: str, model: str) -> RoutedModel:
        with self.database.reading() as session:
            row = _model(session, project_id, model)
        if row.pinned_at is not None:
            raise Conflict(f"{row.id} is pinned. Unpin it first: DELETE /v1/models/{row.id}/pin.")
        return _route(row)


def _model(session: Session, project_id: str, ref: str) -> ModelRow:
    row = models.resolve(session, project_id, ref)
    if row is None:
        raise NotFound(f"There is no model {ref!r}.")
    return row


def _route(row: ModelRow) -> RoutedModel:
    return RoutedModel.of(ModelReference.model_validate(row.reference))


async def _told(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """A replica that goes away in the middle is told as an event: a silent end would pass for success."""
    try:
        async with aclosing(events):
            async for event in events:
                yield event
    except (ConnectionFailed, ServiceError):
        error = {"code": ErrorCode.UNAVAILABLE, "message": "The inference replica went away.", "errors": []}
        yield b"\n\nevent: error\ndata: " + to_json({"error": error}) + b"\n\n"  # closes what broke off, too
