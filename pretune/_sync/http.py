"""Calls, one at a time: sent, repeated where that is safe, and read. Knows no resource."""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from pretune import protocol
from pretune.errors import ApiError, NoAnswer
from pretune.protocol import EventReader, Retries, ServerSentEvent
from pretune.uploads import Upload
from pretune.views import Json


class Http:
    def __init__(self, url: str | None, key: str | None, *, timeout_seconds: float, max_retries: int) -> None:
        self.url, self.key = protocol.address(url, key)
        self._max_retries = max_retries
        self._http = httpx2.Client(base_url=self.url, headers=protocol.authorization(self.key), timeout=timeout_seconds)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Json:
        return self._answer("GET", path, repeatable=True, params=protocol.without_none(query))

    def health(self, path: str) -> Json:
        """The answer of any status, in one try: not to be well is an answer too."""
        try:
            response = self._http.get(path)
        except httpx2.TransportError as error:
            raise self._no_answer(error) from error
        answer: Json = response.json()
        return answer

    def act(self, path: str) -> Json:
        """A change that is not made twice: a try whose answer was lost is not repeated."""
        return self._answer("POST", path, repeatable=False)

    def ask(self, path: str, body: Json) -> Json:
        """A question that changes nothing."""
        return self._answer("POST", path, repeatable=True, json=body)

    def put(self, path: str) -> Json:
        return self._answer("PUT", path, repeatable=True)

    def delete(self, path: str) -> None:
        """What a lost try has deleted already is deleted."""
        retries = Retries(self._max_retries, repeatable=True)
        try:
            self._response("DELETE", path, retries)
        except ApiError as error:
            if error.status != 404 or not retries.used:
                raise

    def create(self, path: str, body: Json | None = None) -> Json:
        headers = {"Idempotency-Key": protocol.idempotency_key()}
        return self._answer("POST", path, repeatable=True, json=body, headers=headers)

    def upload(self, path: str, upload: Upload, fields: Mapping[str, Any]) -> Json:
        """The file is read in pieces, from its start at each try."""
        headers = {"Idempotency-Key": protocol.idempotency_key()}
        data = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in protocol.without_none(fields).items()
        }
        with upload.opened() as file:
            return self._answer("POST", path, repeatable=True, files={"file": file}, data=data, headers=headers)

    def pages(self, path: str, *, cursor: str | None = None, **query: Any) -> Iterator[Json]:
        """The items of all pages from `cursor` on, in order."""
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def download(self, path: str, to: Path) -> Path:
        """Whole, or not at all: it is written beside, and renamed at the end."""
        part = to.with_name(f".{to.name}.part")
        try:
            with part.open("wb") as file, self.stream("GET", path) as response:
                for piece in response.iter_bytes():
                    file.write(piece)
            return part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def events(self, path: str, last_id: int) -> Generator[ServerSentEvent, None]:
        """Those behind `last_id`, until the stream ends or breaks off."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last_id)} if last_id else {})
        with self.stream("GET", path, headers=headers) as response:
            yield from _events(response)

    def ask_for_events(self, path: str, body: Json) -> Generator[ServerSentEvent, None]:
        with self.stream("POST", path, json=body) as response:
            yield from _events(response)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """A response that is not read yet. Raises ApiError or NoAnswer, also while it is read."""
        try:
            with self._http.stream(method, path, **options) as response:
                if response.is_error:
                    response.read()
                    raise protocol.error_of(response)
                yield response
        except httpx2.TransportError as error:
            raise self._no_answer(error) from error

    def _answer(self, method: str, path: str, *, repeatable: bool, **options: Any) -> Json:
        response = self._response(method, path, Retries(self._max_retries, repeatable=repeatable), **options)
        answer: Json = response.json()
        return answer

    def _response(self, method: str, path: str, retries: Retries, **options: Any) -> httpx2.Response:
        while True:
            try:
                response = self._http.request(method, path, **options)
                if not response.is_error:
                    return response
                raise protocol.error_of(response)
            except (ApiError, httpx2.TransportError) as error:
                seconds = retries.after(error)
                if seconds is None and isinstance(error, ApiError):
                    raise
                if seconds is None:
                    raise self._no_answer(error) from error
            time.sleep(seconds)

    def _no_answer(self, error: Exception) -> NoAnswer:
        return NoAnswer(f"No answer from {self.url}: {error or type(error).__name__}")


def _events(response: httpx2.Response) -> Generator[ServerSentEvent, None]:
    reader = EventReader()
    for line in response.iter_lines():
        event = reader.read(line)
        if event is not None:
            yield event
