"""The rules of inference: whose model it is, and what becomes of the question. Inputs and outputs stay opaque."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pydantic_core import to_json

from app.contract.errors import ErrorCode, NotFound, ServiceError
from app.contract.inference import ModelReference, Operation
from app.db import models
from app.db.session import Database
from app.inference_client import InferenceClient, RoutedModel
from app.inference_client.connection import ConnectionFailed

#: A model is immutable, but may be deleted: an id answers from memory for so long. Aliases are always read anew,
#: because who moves an alias expects the very next request to follow.
REMEMBERED_SECONDS = 1.0
MAX_REMEMBERED = 4_096


@dataclass(slots=True)
class _Remembered:
    """Routed models by project and id, the oldest first out."""

    entries: "OrderedDict[tuple[str, str], tuple[float, RoutedModel]]" = field(default_factory=OrderedDict)

    def get(self, project_id: str, model: str) -> RoutedModel | None:
        known = self.entries.get((project_id, model))
        return known[1] if known and time.monotonic() - known[0] < REMEMBERED_SECONDS else None

    def put(self, project_id: str, routed: RoutedModel) -> None:
        self.entries[project_id, routed.model_id] = (time.monotonic(), routed)
        self.entries.move_to_end((project_id, routed.model_id))
        if len(self.entries) > MAX_REMEMBERED:
            self.entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Inference:
    """Asynchronous, since a handler only waits here; the one database look-up runs in a thread."""

    database: Database
    client: InferenceClient
    _remembered: _Remembered = field(default_factory=_Remembered)

    async def answer(self, project_id: str, model: str, operation: Operation, body: bytes) -> bytes:
        """The JSON answer to a body that is valid JSON. Raises NotFound, and what the model's replica raises."""
        return await self.client.infer(await self._routed(project_id, model), operation, body)

    async def stream(self, project_id: str, model: str, body: bytes) -> AsyncIterator[bytes]:
        """Server-sent events of a generation; what goes wrong before the first is raised here."""
        return _told(await self.client.stream(await self._routed(project_id, model), body))

    async def _routed(self, project_id: str, model: str) -> RoutedModel:
        """By id or alias, of this project."""
        if known := self._remembered.get(project_id, model):
            return known
        routed = await asyncio.to_thread(self._read, project_id, model)
        self._remembered.put(project_id, routed)
        return routed

    def _read(self, project_id: str, model: str) -> RoutedModel:
        with self.database.reading() as session:
            row = models.resolve(session, project_id, model)
            if row is None:
                raise NotFound(f"There is no model {model!r}.")
            return RoutedModel.of(ModelReference.model_validate(row.reference))


async def _told(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A replica that goes away in the middle is told as an event: a silent end would pass for success."""
    try:
        async for event in events:
            yield event
    except (ConnectionFailed, ServiceError):
        error = {"code": ErrorCode.UNAVAILABLE, "message": "The inference replica went away.", "errors": []}
        yield b"\n\nevent: error\ndata: " + to_json({"error": error}) + b"\n\n"  # closes what broke off, too
