"""Sweeps: one job trained many times with other parameters."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pretune import protocol
from pretune._sync.bound import Bound
from pretune._sync.http import Http
from pretune._sync.jobs import Job
from pretune._sync.models import Model
from pretune.errors import JobDidNotSucceed
from pretune.views import Deletion, Json, SweepView

OnSweep = Callable[[SweepView], None]
LOOK_SECONDS = 2.0


class Sweep(SweepView, Bound):
    """As it was when it was read: `refresh` reads it anew."""

    def refresh(self) -> "Sweep":
        return self._bound(self._http.get(self._path()))

    def cancel(self) -> "Sweep":
        """With all its jobs, whose checkpoints stay."""
        return self._bound(self._http.act(self._path("/cancel")))

    def pause(self) -> "Sweep":
        return self._bound(self._http.act(self._path("/pause")))

    def resume(self) -> "Sweep":
        return self._bound(self._http.act(self._path("/resume")))

    def wait(self, *, on_change: OnSweep | None = None, timeout_seconds: float | None = None) -> "Sweep":
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
            time.sleep(LOOK_SECONDS)
            sweep = sweep.refresh()
        if sweep.status != "succeeded":
            code = sweep.error.code if sweep.error else sweep.status
            raise JobDidNotSucceed(sweep.name or sweep.id, sweep.status, code, sweep.reason)
        return sweep

    def jobs(self, *, page_size: int = 100) -> Iterator[Job]:
        """Of all its trials, and the final one."""
        for item in self._http.pages("/v1/jobs", sweep=self.id, limit=page_size):
            yield Job.model_validate(item, context=self._http)

    def model(self) -> Model:
        """What came of it."""
        sweep = self if self.model_id else self.refresh()
        answer = self._http.get(f"/v1/models/{sweep.model_id}")
        return Model.model_validate(answer, context=self._http)

    def download(self, to: Path | str | None = None) -> Path:
        """Its trials as CSV. -> where it lies"""
        return self._http.download(self._path("/trials.csv"), Path(to) if to is not None else Path(f"{self.id}.csv"))

    def deletion(self) -> Deletion:
        return Deletion.model_validate(self._http.get(self._path("/deletion")))

    def delete(self) -> None:
        """With all its jobs; models stay."""
        self._http.delete(self._path())

    def _path(self, rest: str = "") -> str:
        return f"/v1/sweeps/{self.id}{rest}"

    def _bound(self, answer: Json) -> "Sweep":
        return Sweep.model_validate(answer, context=self._http)


class Sweeps:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, job: Json, search: Json, **fields: Any) -> Sweep:
        """`job` as `POST /v1/jobs` takes it; `search`: what to try, by the path of a field in it. `fields`: trials,
        folds, pruner, finalize..."""
        body = protocol.without_none({"job": job, "search": search, **fields})
        return self._bound(self._http.create("/v1/sweeps", body))

    def get(self, sweep_id: str) -> Sweep:
        return self._bound(self._http.get(f"/v1/sweeps/{sweep_id}"))

    def list(self, *, status: str | Sequence[str] | None = None, page_size: int = 100) -> Iterator[Sweep]:
        """The newest first, without their trials."""
        for item in self._http.pages("/v1/sweeps", status=status, limit=page_size):
            yield self._bound(item)

    def _bound(self, answer: Json) -> Sweep:
        return Sweep.model_validate(answer, context=self._http)
