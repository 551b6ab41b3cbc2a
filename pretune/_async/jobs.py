"""Jobs: asked for, watched, stopped, and what they leave."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pretune import protocol
from pretune._async.bound import AsyncBound
from pretune._async.http import AsyncHttp
from pretune._async.models import AsyncModel
from pretune.errors import ApiError, JobDidNotSucceed, NoAnswer
from pretune.views import (
    ArtifactView,
    CheckpointView,
    Deletion,
    Estimate,
    EvaluationView,
    EventView,
    JobView,
    Json,
    MetricSeries,
)

OnEvent = Callable[[EventView], None]
#: Hears the step and the values that were measured there.
OnMetric = Callable[[int, Mapping[str, float]], None]


class AsyncJob(JobView, AsyncBound):
    """As it was when it was read: `refresh` reads it anew."""

    async def refresh(self) -> "AsyncJob":
        return self._bound(await self._http.get(self._path()))

    async def cancel(self) -> "AsyncJob":
        """Its checkpoints stay."""
        return self._bound(await self._http.act(self._path("/cancel")))

    async def pause(self) -> "AsyncJob":
        """It writes a checkpoint and gives its slot back; `resume` goes on from there."""
        return self._bound(await self._http.act(self._path("/pause")))

    async def resume(self) -> "AsyncJob":
        return self._bound(await self._http.act(self._path("/resume")))

    async def retry(self) -> "AsyncJob":
        """One that has failed or was cancelled goes on from its last checkpoint, under the same id."""
        return self._bound(await self._http.act(self._path("/retry")))

    async def clone(self, **changes: Any) -> "AsyncJob":
        """A new job of the same spec; `changes` replace whole fields of it."""
        return self._bound(await self._http.create("/v1/jobs", {**self.spec, **changes}))

    async def wait(
        self,
        *,
        on_event: OnEvent | None = None,
        on_metric: OnMetric | None = None,
        timeout_seconds: float | None = None,
    ) -> "AsyncJob":
        """The job once it has succeeded. A pause is waited for; the job goes on whatever becomes of who waits.

        Raises JobDidNotSucceed, or TimeoutError, which is looked at with each sign of life.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        async with aclosing(self.events(follow=True)) as events:
            async for event in events:
                if on_event is not None:
                    on_event(event)
                if on_metric is not None and event.type == "metrics":
                    on_metric(event.data["progress"]["step"], event.data["values"])
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{self.id} has not ended after {timeout_seconds:g} seconds.")
        job = await self.refresh()
        if job.status != "succeeded":
            code, message = (job.error.code, job.error.message) if job.error else (job.status, "it was stopped")
            raise JobDidNotSucceed(job.name or job.id, job.status, code, message)
        return job

    async def events(self, *, after: int = 0, follow: bool = False) -> AsyncGenerator[EventView, None]:
        """What has happened behind the event `after`; with `follow`, also what is to come until the job ends. A stream
        that breaks off is taken up again where it was.
        """
        if follow:
            async with aclosing(self._live_events(after)) as events:
                async for event in events:
                    yield event
        else:
            async for item in self._http.pages(self._path("/events"), cursor=str(after) if after else None, limit=200):
                yield EventView.model_validate(item)

    async def series(self, *names: str, max_points: int | None = None) -> tuple[MetricSeries, ...]:
        """All series, or those named; of longer ones, points at regular distances."""
        answer = await self._http.get(self._path("/metrics"), name=names or None, max_points=max_points)
        return tuple(MetricSeries.model_validate(each) for each in answer["data"])

    async def checkpoints(self) -> tuple[CheckpointView, ...]:
        answer = await self._http.get(self._path("/checkpoints"))
        return tuple(CheckpointView.model_validate(each) for each in answer["data"])

    async def promote(self, step: int) -> AsyncModel:
        """The checkpoint of that step as a model."""
        answer = await self._http.create(self._path(f"/checkpoints/{step}/promote"))
        return AsyncModel.model_validate(answer, context=self._http)

    async def artifacts(self) -> tuple[ArtifactView, ...]:
        answer = await self._http.get(self._path("/artifacts"))
        return tuple(ArtifactView.model_validate(each) for each in answer["data"])

    async def download(self, artifact: str, to: Path | str | None = None) -> Path:
        """Into `to`, or under the artifact's own name here. -> where it lies"""
        target = Path(to) if to is not None else Path(artifact).name
        return await self._http.download(self._path(f"/artifacts/{artifact}"), Path(target))

    async def model(self) -> AsyncModel:
        """The result of a job that has succeeded."""
        job = self if self.model_id else await self.refresh()
        answer = await self._http.get(f"/v1/models/{job.model_id or job.id}")
        return AsyncModel.model_validate(answer, context=self._http)

    async def evaluation(self) -> EvaluationView:
        """What an evaluation that has succeeded found."""
        answer = await self._http.get(f"/v1/evaluations/{self.id.replace('job_', 'eval_', 1)}")
        return EvaluationView.model_validate(answer)

    async def deletion(self) -> Deletion:
        return Deletion.model_validate(await self._http.get(self._path("/deletion")))

    async def delete(self) -> None:
        await self._http.delete(self._path())

    async def _live_events(self, after: int) -> AsyncGenerator[EventView, None]:
        last_id, deadline = after, time.monotonic() + protocol.OUTAGE_SECONDS
        while True:
            try:
                async with aclosing(self._http.events(self._path("/events"), last_id)) as events:
                    async for sent in events:
                        event = sent.as_job_event()
                        last_id, deadline = event.id, time.monotonic() + protocol.OUTAGE_SECONDS
                        yield event
                if (await self.refresh()).is_terminal:
                    return
            except (ApiError, NoAnswer) as error:
                if (isinstance(error, ApiError) and error.status < 500) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(protocol.RECONNECT_SECONDS)

    def _path(self, rest: str = "") -> str:
        return f"/v1/jobs/{self.id}{rest}"

    def _bound(self, answer: Json) -> "AsyncJob":
        return AsyncJob.model_validate(answer, context=self._http)


class AsyncJobs:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, spec: Json) -> AsyncJob:
        """As `POST /v1/jobs` takes it. Sent again after a lost answer, it still makes one job."""
        return self._bound(await self._http.create("/v1/jobs", spec))

    async def pretrain(self, dataset: str, method: str | Json, **fields: Any) -> AsyncJob:
        """`method` is its type, or the whole of it; `fields` are those of the spec: name, training, resources..."""
        return await self.create({"kind": "pretrain", "dataset": dataset, "method": _method(method), **fields})

    async def finetune(self, parent: str, dataset: str, method: str | Json, **fields: Any) -> AsyncJob:
        """`parent`: the id of a job or a model, or an alias. It may still be training: the new job waits for it."""
        spec = {"kind": "finetune", "parent": parent, "dataset": dataset, "method": _method(method)}
        return await self.create({**spec, **fields})

    async def batch_predict(self, model: str, dataset: str, **fields: Any) -> AsyncJob:
        """`model`: an id or an alias. `fields`: operation, parameters, name... The answers, a line of JSON for each
        record, are the job's artifact `predictions.jsonl`."""
        return await self.create({"kind": "batch_predict", "model": model, "dataset": dataset, **fields})

    async def estimate(self, spec: Json) -> Estimate:
        """What the job would cost. Nothing is made."""
        return Estimate.model_validate(await self._http.ask("/v1/jobs/estimate", spec))

    async def get(self, job_id: str) -> AsyncJob:
        return self._bound(await self._http.get(f"/v1/jobs/{job_id}"))

    async def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        method: str | None = None,
        parent: str | None = None,
        name: str | None = None,
        sweep: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[AsyncJob]:
        """The newest first."""
        query: Json = {"status": status, "kind": kind, "method": method, "parent": parent, "name": name, "sweep": sweep}
        async for item in self._http.pages("/v1/jobs", limit=page_size, **query):
            yield self._bound(item)

    def _bound(self, answer: Json) -> AsyncJob:
        return AsyncJob.model_validate(answer, context=self._http)


def _method(given: str | Json) -> Json:
    return {"type": given} if isinstance(given, str) else given
