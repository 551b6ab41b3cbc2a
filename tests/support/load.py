"""A client that posts jobs without pause and insists on an answer: what a service under faults has to bear."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httpx2

from app.contract.job import JobStatus
from tests.support.api_server import ApiServer, scripted_job
from tests.support.waiting import wait_until

PAUSE_SECONDS = 0.4
STEP_SECONDS = 0.02
CHECKPOINT_EVERY = 5
#: Of a request that is sent again and again.
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A job that the api has accepted, and whether its cancel was asked for."""

    job_id: str
    steps: int
    cancelled: bool


class Load:
    """Posts jobs under keys that begin with `name`, and cancels or pauses some; as long as the block, and at least one
    job. Raises in the end what has gone wrong meanwhile."""

    def __init__(self, api: ApiServer, dataset_id: str, name: str) -> None:
        self._api = api
        self._dataset_id = dataset_id
        self._name = name
        self._draw = random.Random(name)  # noqa: S311  no secret
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with self._api.client() as http:
                while True:
                    self.asked.append(self._ask(http, f"{self._name}-{len(self.asked)}"))
                    if self._enough.wait(PAUSE_SECONDS):
                        break
        except BaseException as error:  # noqa: BLE001  raised where the thread is joined
            self._error = error

    def _ask(self, http: httpx2.Client, key: str) -> Asked:
        steps, fate = self._draw.randint(10, 60), self._draw.random()
        spec = scripted_job(
            self._dataset_id, steps=steps, checkpoint_every=CHECKPOINT_EVERY, script=self._script(steps)
        )
        answer = insist(lambda: http.post("/v1/jobs", json=spec, headers={"Idempotency-Key": key}))
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["id"])
        if fate < 0.15:
            insist(lambda: http.post(f"/v1/jobs/{job_id}/cancel"))
        elif fate < 0.3:
            insist(lambda: http.post(f"/v1/jobs/{job_id}/pause"))
            wait_until(lambda: _goes_on(http, job_id), PATIENCE_SECONDS, "a paused job goes on")
        return Asked(job_id, steps, cancelled=fate < 0.15)

    def _script(self, steps: int) -> dict[str, str]:
        """Every third training process dies by itself once."""
        dies = {"kill_at": str(self._draw.randint(1, steps)), "faulty_attempts": "1"}
        return {"step_seconds": str(STEP_SECONDS)} | (dies if self._draw.random() < 0.3 else {})


def _goes_on(http: httpx2.Client, job_id: str) -> bool:
    """A job that is still to pause cannot be resumed yet; one that ended before its pause need not be."""
    insist(lambda: http.post(f"/v1/jobs/{job_id}/resume"))
    status = insist(lambda: http.get(f"/v1/jobs/{job_id}")).json()["status"]
    return status not in (JobStatus.PAUSING, JobStatus.PAUSED)


def insist(send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """Send again what got no answer, or that the service is away for a while. An answer of 500 is a failure."""

    def answered() -> httpx2.Response | None:
        try:
            answer = send()
        except httpx2.TransportError:
            return None
        assert answer.status_code != 500, answer.text
        come_back = "Retry-After" in answer.headers
        return None if come_back else answer

    return wait_until(answered, PATIENCE_SECONDS, "the service answers")
