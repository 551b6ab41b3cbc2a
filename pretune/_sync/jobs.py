"""Jobs: asked for, watched, stopped, and what they leave."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pretune import protocol
from pretune._sync.bound import Bound
from pretune._sync.http import Http
from pretune._sync.models import Model
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


class Job(JobView, Bound):
    """As it was when it was read: `refresh` reads it anew."""

    def refresh(self) -> "Job":
        return self._bound(self._http.get(self._path()))

    def cancel(self) -> "Job":
        """Its checkpoints stay."""
        return self._bound(self._http.act(self._path("/cancel")))

    def pause(self) -> "Job":
        """It writes a checkpoint and gives its slot back; `resume` goes on from there."""
        return self._bound(self._http.act(self._path("/pause")))

    def resume(self) -> "Job":
        return self._bound(self._http.act(self._path("/resume")))

    def retry(self) -> "Job":
        """One that has failed or was cancelled goes on from its last checkpoint, under the same id."""
        return self._bound(self._http.act(self._path("/retry")))

    def clone(self, **changes: Any) -> "Job":
        """A new job of the same spec; `changes` replace whole fields of it."""
        return self._bound(self._http.create("/v1/jobs", {**self.spec, **changes}))

    def wait(
        self,
        *,
        on_event: OnEvent | None = None,
        on_metric: OnMetric | None = None,
        timeout_seconds: float | None = None,
    ) -> "Job":
        """The job once it has succeeded. A pause is waited for; the job goes on whatever becomes of who waits.

        Raises JobDidNotSucceed, or TimeoutError, which is looked at with each sign of life.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with closing(self.events(follow=True)) as events:
            for event in events:
                if on_event is not None:
                    on_event(event)
                if on_metric is not None and event.type == "metrics":
                    on_metric(event.data["progress"]["step"], event.data["values"])
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(f"{self.id} has not ended after {timeout_seconds:g} seconds.")
        job = self.refresh()
        if job.status != "succeeded":
            code, message = (job.error.code, job.error.message) if job.error else (job.status, "it was stopped")
            raise JobDidNotSucceed(job.name or job.id, job.status, code, message)
        return job

    def events(self, *, after: int = 0, follow: bool = False) -> Generator[EventView, None]:
        """What has happened behind the event `after`; with `follow`, also what is to come until the job ends. A stream
        that breaks off is taken up again where it was.
        """
        if follow:
            with closing(self._live_events(after)) as events:
                yield from events
        else:
            for item in self._http.pages(self._path("/events"), cursor=str(after) if after else None, limit=200):
                yield EventView.model_validate(item)

    def series(self, *names: str, max_points: int | None = None) -> tuple[MetricSeries, ...]:
        """All series, or those named; of longer ones, points at regular distances."""
        answer = self._http.get(self._path("/metrics"), name=names or None, max_points=max_points)
        return tuple(MetricSeries.model_validate(each) for each in answer["data"])

    def checkpoints(self) -> tuple[CheckpointView, ...]:
        answer = self._http.get(self._path("/checkpoints"))
        return tuple(CheckpointView.model_validate(each) for each in answer["data"])

    def promote(self, step: int) -> Model:
        """The checkpoint of that step as a model."""
        answer = self._http.create(self._path(f"/checkpoints/{step}/promote"))
        return Model.model_validate(answer, context=self._http)

    def artifacts(self) -> tuple[ArtifactView, ...]:
        answer = self._http.get(self._path("/artifacts"))
        return tuple(ArtifactView.model_validate(each) for each in answer["data"])

    def download(self, artifact: str, to: Path | str | None = None) -> Path:
        """Into `to`, or under the artifact's own name here. -> where it lies"""
        target = Path(to) if to is not None else Path(artifact).name
        return self._http.download(self._path(f"/artifacts/{artifact}"), Path(target))

    def model(self) -> Model:
        """The result of a job that has succeeded."""
        job = self if self.model_id else self.refresh()
        answer = self._http.get(f"/v1/models/{job.model_id or job.id}")
        return Model.model_validate(answer, context=self._http)

    def evaluation(self) -> EvaluationView:
        """What an evaluation that has succeeded found."""
        answer = self._http.get(f"/v1/evaluations/{self.id.replace('job_', 'eval_', 1)}")
        return EvaluationView.model_validate(answer)

    def deletion(self) -> Deletion:
        return Deletion.model_validate(self._http.get(self._path("/deletion")))

    def delete(self) -> None:
        self._http.delete(self._path())

    def _live_events(self, after: int) -> Generator[EventView, None]:
        last_id, deadline = after, time.monotonic() + protocol.OUTAGE_SECONDS
        while True:
            try:
                with closing(self._http.events(self._path("/events"), last_id)) as events:
                    for sent in events:
                        event = sent.as_job_event()
                        last_id, deadline = event.id, time.monotonic() + protocol.OUTAGE_SECONDS
                        yield event
                if (self.refresh()).is_terminal:
                    return
            except (ApiError, NoAnswer) as error:
                if (isinstance(error, ApiError) and error.status < 500) or time.monotonic() > deadline:
                    raise
            time.sleep(protocol.RECONNECT_SECONDS)

    def _path(self, rest: str = "") -> str:
        return f"/v1/jobs/{self.id}{rest}"

    def _bound(self, answer: Json) -> "Job":
        return Job.model_validate(answer, context=self._http)


class Jobs:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, spec: Json) -> Job:
        """As `POST /v1/jobs` takes it. Sent again after a lost answer, it still makes one job."""
        return self._bound(self._http.create("/v1/jobs", spec))

    def pretrain(self, dataset: str, method: str | Json, **fields: Any) -> Job:
        """`method` is its type, or the whole of it; `fields` are those of the spec: name, training, resources..."""
        return self.create({"kind": "pretrain", "dataset": dataset, "method": _method(method), **fields})

    def finetune(self, parent: str, dataset: str, method: str | Json, **fields: Any) -> Job:
        """`parent`: the id of a job or a model, or an alias. It may still be training: the new job waits for it."""
        spec = {"kind": "finetune", "parent": parent, "dataset": dataset, "method": _method(method)}
        return self.create({**spec, **fields})

    def batch_predict(self, model: str, dataset: str, **fields: Any) -> Job:
        """`model`: an id or an alias. `fields`: operation, parameters, name... The answers, a line of JSON for each
        record, are the job's artifact `predictions.jsonl`."""
        return self.create({"kind": "batch_predict", "model": model, "dataset": dataset, **fields})

    def estimate(self, spec: Json) -> Estimate:
        """What the job would cost. Nothing is made."""
        return Estimate.model_validate(self._http.ask("/v1/jobs/estimate", spec))

    def get(self, job_id: str) -> Job:
        return self._bound(self._http.get(f"/v1/jobs/{job_id}"))

    def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        kind: str | None = None,
        method: str | None = None,
        parent: str | None = None,
        name: str | None = None,
        sweep: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Job]:
        """The newest first."""
        query: Json = {"status": status, "kind": kind, "method": method, "parent": parent, "name": name, "sweep": sweep}
        for item in self._http.pages("/v1/jobs", limit=page_size, **query):
            yield self._bound(item)

    def _bound(self, answer: Json) -> Job:
        return Job.model_validate(answer, context=self._http)


def _method(given: str | Json) -> Json:
    return {"type": given} if isinstance(given, str) else given
