"""Keeps pinned models in memory: all of them, from the start of the replica on. Knows no HTTP and no torch.

Which are pinned stands in the database; it is read anew every few seconds, so that nobody needs to tell the replicas.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from app.contract.inference import ModelReference
from app.db import models
from app.db.session import Database
from worker.serving.loader import Loader

logger = logging.getLogger(__name__)

#: A pinned model that could not be loaded is left alone for so long: reading all its files again costs the others.
RETRY_SECONDS = 60.0


class PinKeeper:
    """Lives on the loader's event loop."""

    def __init__(self, database: Database, loader: Loader[Any], interval_seconds: float) -> None:
        self._database = database
        self._loader = loader
        self._interval_seconds = interval_seconds
        self._retry_at: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.look()

    async def look(self) -> None:
        """Load what is pinned and not in memory. Never raises: the next look tries again."""
        try:
            references = await asyncio.to_thread(self._read)
        except Exception as error:  # noqa: BLE001  whatever the database suffers from, serving goes on
            logger.warning("The pinned models cannot be read: %s", str(error).partition("\n")[0])
            return
        wanted = {reference.digest: reference for reference in self._fitting(references)}
        self._loader.pinned = frozenset(wanted)
        missing = wanted.keys() - set(self._loader.loaded)
        await asyncio.gather(*(self._load(wanted[digest]) for digest in missing if self._is_due(digest)))

    def _read(self) -> list[ModelReference]:
        with self._database.reading() as session:
            return [ModelReference.model_validate(row.reference) for row in models.pinned(session)]

    def _fitting(self, references: Iterable[ModelReference]) -> Iterator[ModelReference]:
        """Those that fit together, the first that were pinned first: this replica may be smaller than others were."""
        free_bytes, known = self._loader.limit_bytes, set[str]()
        for reference in references:
            if reference.digest in known:
                continue
            if reference.size_bytes <= free_bytes:
                free_bytes -= reference.size_bytes
                known.add(reference.digest)
                yield reference
            elif self._is_due(reference.digest):
                self._retry_at[reference.digest] = time.monotonic() + RETRY_SECONDS
                logger.warning(
                    "%s is pinned, and its %s bytes do not fit beside the models that were pinned before it "
                    "(PRETUNE_INFERENCE_CACHE_BYTES)",
                    reference.model_id,
                    f"{reference.size_bytes:,}",
                )

    def _is_due(self, digest: str) -> bool:
        return time.monotonic() >= self._retry_at.get(digest, 0.0)

    async def _load(self, reference: ModelReference) -> None:
        try:
            async with self._loader.use(reference):
                self._retry_at.pop(reference.digest, None)
        except Exception as error:  # noqa: BLE001  told, and tried again; who asks for the model gets the error
            self._retry_at[reference.digest] = time.monotonic() + RETRY_SECONDS
            logger.warning("The pinned model %s cannot be loaded: %s", reference.model_id, error)
