"""The client: one connection pool, and the resources of the API on it."""

import time
from types import TracebackType
from typing import Self

from pretune import protocol
from pretune._sync.datasets import Datasets
from pretune._sync.evaluations import Evaluations
from pretune._sync.http import Http
from pretune._sync.jobs import Jobs
from pretune._sync.models import Models
from pretune._sync.service import Keys, Webhooks, Workers
from pretune._sync.sweeps import Sweeps
from pretune.errors import NoAnswer
from pretune.views import MethodView, QuotaView, Ready, Version


class Client:
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
        self._http = Http(url, key, timeout_seconds=timeout_seconds, max_retries=max_retries)
        self.datasets = Datasets(self._http)
        self.jobs = Jobs(self._http)
        self.models = Models(self._http)
        self.evaluations = Evaluations(self._http)
        self.sweeps = Sweeps(self._http)
        self.workers = Workers(self._http)
        self.keys = Keys(self._http)
        self.webhooks = Webhooks(self._http)

    @property
    def url(self) -> str:
        return self._http.url

    @property
    def has_key(self) -> bool:
        return self._http.key is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def version(self) -> Version:
        return Version.model_validate(self._http.get("/v1/version"))

    def ready(self) -> Ready:
        """Whether its stores answer."""
        return Ready.model_validate(self._http.health("/readyz"))

    def methods(self) -> tuple[MethodView, ...]:
        """What can be trained, from which data and parents, with which defaults."""
        answer = self._http.get("/v1/methods")
        return tuple(MethodView.model_validate(each) for each in answer["data"])

    def quota(self) -> QuotaView:
        return QuotaView.model_validate(self._http.get("/v1/quota"))

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Raises NoAnswer where the service, or one of its stores, has not answered by then."""
        deadline = time.monotonic() + timeout_seconds
        while (missing := self._missing()) is not None:
            if time.monotonic() > deadline:
                raise missing
            time.sleep(protocol.RECONNECT_SECONDS)

    def _missing(self) -> NoAnswer | None:
        try:
            ready = self.ready()
        except NoAnswer as error:
            return error
        silent = [name for name, state in ready.checks.items() if state != "ok"]
        return NoAnswer(f"{self.url} cannot reach its {' and '.join(silent)}.") if silent else None
