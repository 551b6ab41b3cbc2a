"""Sweeps: one job trained many times with other parameters."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from pretune import protocol
from pretune._async.bound import AsyncBound
from pretune._async.http import AsyncHttp
from pretune._async.jobs import AsyncJob
from pretune._async.models import AsyncModel
from pretune.errors import JobDidNotSucceed
from pretune.views import Deletion, Json, SweepView

OnSweep = Callable[[SweepView], None]
LOOK_SECONDS = 2.0


class AsyncSweep(SweepView, AsyncBound):
    """As it was when it was read: `refresh` reads it anew."""

    async def refresh(self) -> "AsyncSweep":
        return self._bound(await self._http.get(self._path()))

    async def cancel(self) -> "AsyncSweep":
        """With all its jobs, whose checkpoints stay."""
        return self._bound(await self._http.act(self._path("/cancel")))

    async def pause(self) -> "AsyncSweep":
        return self._bound(await self._http.act(self._path("/pause")))

    async def resume(self) -> "AsyncSweep":
        return self._bound(await self._http.act(self._path("/resume")))

    async def wait(self, *, on_change: OnSweep | None = None, timeout_seconds: float | None = None) -> "AsyncSweep":
        """The sweep once it has succeeded. `on_change` is told of it whenever its `reason` is another. A pause is
        waited for; the sweep goes on whatever becomes of who waits.

        Raises JobDidNotSucceed, or TimeoutError.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        sweep, told = self, ""
        while True:
            if on_change is not None and sweep.reason != told:
                on_change(sweep)
                told = sweep.reason
            if sweep.is_terminal:
                break
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.id} has not ended after {timeout_seconds:g} seconds.")
            await asyncio.sleep(LOOK_SECONDS)
            sweep = await sweep.refresh()
        if sweep.status != "succeeded":
            code = sweep.error.code if sweep.error else sweep.status
            raise JobDidNotSucceed(sweep.name or sweep.id, sweep.status, code, sweep.reason)
        return sweep

    async def jobs(self, *, page_size: int = 100) -> AsyncIterator[AsyncJob]:
        """Of all its trials, and the final one."""
        async for item in self._http.pages("/v1/jobs", sweep=self.id, limit=page_size):
            yield AsyncJob.model_validate(item, context=self._http)

    async def model(self) -> AsyncModel:
        """What came of it."""
        sweep = self if self.model_id else await self.refresh()
        answer = await self._http.get(f"/v1/models/{sweep.model_id}")
        return AsyncModel.model_validate(answer, context=self._http)

    async def download(self, to: Path | str | None = None) -> Path:
        """Its trials as CSV. -> where it lies"""
        return await self._http.download(
            self._path("/trials.csv"), Path(to) if to is not None else Path(f"{self.id}.csv")
        )

    async def deletion(self) -> Deletion:
        return Deletion.model_validate(await self._http.get(self._path("/deletion")))

    async def delete(self) -> None:
        """With all its jobs; models stay."""
        await self._http.delete(self._path())

    def _path(self, rest: str = "") -> str:
        return f"/v1/sweeps/{self.id}{rest}"

    def _bound(self, answer: Json) -> "AsyncSweep":
        return AsyncSweep.model_validate(answer, context=self._http)


class AsyncSweeps:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, job: Json, search: Json, **fields: Any) -> AsyncSweep:
        """`job` as `POST /v1/jobs` takes it; `search`: what to try, by the path of a field in it. `fields`: trials,
        folds, pruner, finalize..."""
        body = protocol.without_none({"job": job, "search": search, **fields})
        return self._bound(await self._http.create("/v1/sweeps", body))

    async def get(self, sweep_id: str) -> AsyncSweep:
        return self._bound(await self._http.get(f"/v1/sweeps/{sweep_id}"))

    async def list(
        self, *, status: str | Sequence[str] | None = None, page_size: int = 100
    ) -> AsyncIterator[AsyncSweep]:
        """The newest first, without their trials."""
        async for item in self._http.pages("/v1/sweeps", status=status, limit=page_size):
            yield self._bound(item)

    def _bound(self, answer: Json) -> AsyncSweep:
        return AsyncSweep.model_validate(answer, context=self._http)
