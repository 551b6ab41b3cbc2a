"""The calls, one method each. Bodies and answers are the API's own JSON."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2

Json = dict[str, Any]

READ_SECONDS = 60.0
RECONNECT_SECONDS = 0.5
#: A service that restarts is back long before.
OUTAGE_SECONDS = 60.0
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


class ClientError(Exception):
    """What a user of the client should read: the message is whole."""


class ApiError(ClientError):
    """An answer of 4xx or 5xx, or none at all (`status` 0)."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


class Event(NamedTuple):
    id: int
    type: str
    data: Json


class Api:
    def __init__(self, url: str, key: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ClientError(f"{url!r} is no address of a service: it begins with http:// or https://.")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self.has_key = key is not None
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=READ_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def wait_until_ready(self, timeout_seconds: float) -> None:
        """Raises ApiError when /readyz has not answered 200 by then."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._call("GET", "/readyz")
                return
            except ApiError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RECONNECT_SECONDS)

    def version(self) -> Json:
        return self._call("GET", "/v1/version")

    def upload(
        self, file: Path, *, name: str | None = None, kind: str | None = None, columns: Mapping[str, str] | None = None
    ) -> Json:
        fields = {"name": name, "kind": kind, "columns": json.dumps(columns) if columns else None}
        given = {field: value for field, value in fields.items() if value is not None}
        with file.open("rb") as stream:
            return self._call("POST", "/v1/datasets", files={"file": (file.name, stream)}, data=given)

    def create_job(self, spec: Json) -> Json:
        return self._call("POST", "/v1/jobs", json=spec)

    def job(self, job_id: str) -> Json:
        return self._call("GET", f"/v1/jobs/{job_id}")

    def cancel(self, job_id: str) -> Json:
        return self._call("POST", f"/v1/jobs/{job_id}/cancel")

    def predict(self, model: str, inputs: Sequence[Any]) -> list[Json]:
        """One output for each input, in order."""
        answer = self._call("POST", f"/v1/models/{model}/predict", json={"inputs": list(inputs)})
        outputs: list[Json] = answer["outputs"]
        return outputs

    def embed(self, model: str, inputs: Sequence[Any]) -> list[list[float]]:
        answer = self._call("POST", f"/v1/models/{model}/embed", json={"inputs": list(inputs)})
        embeddings: list[list[float]] = answer["embeddings"]
        return embeddings

    def generate(self, model: str, prompt: str, **parameters: Any) -> Json:
        return self._call("POST", f"/v1/models/{model}/generate", json={"prompt": prompt, "parameters": parameters})

    def follow(self, job_id: str) -> Iterator[Event]:
        """A job's events until it ends. A stream that breaks is taken up again after the last event that came."""
        last_id, deadline = 0, time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                for event in self._stream(job_id, last_id):
                    last_id, deadline = event.id, time.monotonic() + OUTAGE_SECONDS
                    yield event
                if self.job(job_id)["status"] in TERMINAL:
                    return
            except ApiError as error:
                if 400 <= error.status < 500 or time.monotonic() > deadline:
                    raise
            time.sleep(RECONNECT_SECONDS)

    def _stream(self, job_id: str, last_id: int) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last_id)} if last_id else {})
        with self._told(), self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
            if response.is_error:
                response.read()
                raise _error_of(response)
            yield from _events(response.iter_lines())

    def _call(self, method: str, path: str, **options: Any) -> Json:
        with self._told():
            response = self._http.request(method, path, **options)
        if response.is_error:
            raise _error_of(response)
        answer: Json = response.json()
        return answer

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            raise ApiError(0, "no_answer", f"No service answers at {self.url}: {error}") from error


def _error_of(response: httpx2.Response) -> ApiError:
    try:
        problem = response.json()
        places = [f"{error['location']}: {error['message']}" for error in problem.get("errors", ())]
        untold = "; ".join(place for place in places if place not in problem["detail"])
        return ApiError(response.status_code, problem["code"], f"{problem['detail']} {untold}".strip())
    except (ValueError, KeyError, TypeError):
        return ApiError(response.status_code, "unknown", response.text[:500])


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events; comments (heartbeats) and fields that we do not use are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            body = json.loads(fields["data"])
            yield Event(int(fields["id"]), fields.get("event", body.get("type", "message")), body.get("data", body))
            fields = {}
