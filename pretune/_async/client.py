"""The client: one connection pool, and the resources of the API on it."""

import asyncio
import time
from types import TracebackType
from typing import Self

from pretune import protocol
from pretune._async.datasets import AsyncDatasets
from pretune._async.evaluations import AsyncEvaluations
from pretune._async.http import AsyncHttp
from pretune._async.jobs import AsyncJobs
from pretune._async.models import AsyncModels
from pretune._async.service import AsyncKeys, AsyncWebhooks, AsyncWorkers
from pretune._async.sweeps import AsyncSweeps
from pretune.errors import NoAnswer
from pretune.views import MethodView, QuotaView, Ready, Version


class AsyncClient:
    """What is not given comes from PRETUNE_URL (http://127.0.0.1:8080) and PRETUNE_API_KEY.

    Calls that can be repeated without doing anything twice are, up to `max_retries` times; `timeout_seconds` is that of
    each try, counted between two signs of life. Every call may raise ApiError and NoAnswer.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = protocol.TIMEOUT_SECONDS,
        max_retries: int = protocol.MAX_RETRIES,
    ) -> None:
        self._http = AsyncHttp(url, key, timeout_seconds=timeout_seconds, max_retries=max_retries)
        self.datasets = AsyncDatasets(self._http)
        self.jobs = AsyncJobs(self._http)
        self.models = AsyncModels(self._http)
        self.evaluations = AsyncEvaluations(self._http)
        self.sweeps = AsyncSweeps(self._http)
        self.workers = AsyncWorkers(self._http)
        self.keys = AsyncKeys(self._http)
        self.webhooks = AsyncWebhooks(self._http)

    @property
    def url(self) -> str:
        return self._http.url

    @property
    def has_key(self) -> bool:
        return self._http.key is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def version(self) -> Version:
        return Version.model_validate(await self._http.get("/v1/version"))

    async def ready(self) -> Ready:
        """Whether its stores answer."""
        return Ready.model_validate(await self._http.health("/readyz"))

    async def methods(self) -> tuple[MethodView, ...]:
        """What can be trained, from which data and parents, with which defaults."""
        answer = await self._http.get("/v1/methods")
        return tuple(MethodView.model_validate(each) for each in answer["data"])

    async def quota(self) -> QuotaView:
        return QuotaView.model_validate(await self._http.get("/v1/quota"))

    async def wait_until_ready(self, timeout_seconds: float) -> None:
        """Raises NoAnswer where the service, or one of its stores, has not answered by then."""
        deadline = time.monotonic() + timeout_seconds
        while (missing := await self._missing()) is not None:
            if time.monotonic() > deadline:
                raise missing
            await asyncio.sleep(protocol.RECONNECT_SECONDS)

    async def _missing(self) -> NoAnswer | None:
        try:
            ready = await self.ready()
        except NoAnswer as error:
            return error
        silent = [name for name, state in ready.checks.items() if state != "ok"]
        return NoAnswer(f"{self.url} cannot reach its {' and '.join(silent)}.") if silent else None
