"""The rules of inference: whose model it is, and what becomes of the question. Inputs and outputs stay opaque."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from pydantic_core import to_json

from app.contract.errors import ErrorCode, NotFound, ServiceError
from app.contract.inference import ModelReference, Operation
from app.db import models
from app.db.session import Database
from app.inference_client import InferenceClient, RoutedModel
from app.inference_client.connection import ConnectionFailed


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
            row = models.resolve(session, project_id, model)
            if row is None:
                raise NotFound(f"There is no model {model!r}.")
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
