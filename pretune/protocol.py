"""What both clients do alike and without any I/O: which calls are repeated and when, how errors and events are read."""

import json
import os
import random
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx2

from pretune.errors import ApiError, PretuneError
from pretune.views import EventView

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE, KEY_VARIABLE = "PRETUNE_URL", "PRETUNE_API_KEY"

TIMEOUT_SECONDS = 60.0
MAX_RETRIES = 3
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 30.0
#: A stream of events is taken up again for so long after the last sign of life: a service that restarts is back before.
OUTAGE_SECONDS = 60.0
RECONNECT_SECONDS = 0.5

#: The service has done nothing, and says so.
_REFUSED_FOR_NOW = frozenset({429, 503})
#: What stands before the service has lost its answer.
_LOST = frozenset({502, 504})
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Address(NamedTuple):
    url: str
    key: str | None


def address(url: str | None, key: str | None) -> Address:
    """What is not given is read from PRETUNE_URL and PRETUNE_API_KEY. Raises PretuneError."""
    chosen = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    if not chosen.startswith(("http://", "https://")):
        raise PretuneError(f"{chosen!r} is no address of a service: it begins with http:// or https://.")
    return Address(chosen.rstrip("/"), key or os.environ.get(KEY_VARIABLE) or None)


def authorization(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def idempotency_key() -> str:
    """A creation that carries one is done once, however often it is sent."""
    return str(uuid.uuid4())


class Retries:
    """Of one call. `repeatable`: to do it twice is to do it once."""

    def __init__(self, limit: int, *, repeatable: bool) -> None:
        self._left, self._repeatable, self._seconds = limit, repeatable, FIRST_RETRY_SECONDS
        self.used = False

    def after(self, error: ApiError | httpx2.TransportError) -> float | None:
        """Seconds to wait before the next try; None: there is none."""
        if not self._left or not self._may_repeat(error):
            return None
        self._left -= 1
        self.used = True
        wanted, self._seconds = self._seconds * random.uniform(0.75, 1.25), self._seconds * 2  # noqa: S311  no secret
        asked = error.retry_after_seconds if isinstance(error, ApiError) else None
        return min(max(wanted, asked or 0.0), LONGEST_RETRY_SECONDS)

    def _may_repeat(self, error: ApiError | httpx2.TransportError) -> bool:
        if isinstance(error, ApiError):
            in_flight = error.code == "idempotency_key_in_flight"
            return error.status in _REFUSED_FOR_NOW or in_flight or (self._repeatable and error.status in _LOST)
        return self._repeatable or isinstance(error, _NOT_SENT)


def error_of(response: httpx2.Response) -> ApiError:
    """Of a response that has been read."""
    try:
        problem = response.json()
    except ValueError:
        problem = response.text
    return ApiError.of(response.status_code, problem, response.headers)


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class EventReader:
    """Server-sent events, a line at a time. Comments, which are heartbeats, are passed over."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def read(self, line: str) -> "ServerSentEvent | None":
        """The event that this line ends."""
        if line:
            name, _, value = line.partition(":")
            if name:
                self._fields[name] = value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        return ServerSentEvent(fields.get("event", "message"), fields["data"]) if "data" in fields else None


class ServerSentEvent(NamedTuple):
    name: str
    data: str

    def as_job_event(self) -> EventView:
        return EventView.model_validate_json(self.data)

    def as_json(self) -> dict[str, Any]:
        """Raises ApiError for an event that tells one."""
        body: dict[str, Any] = json.loads(self.data)
        if self.name == "error":
            raise ApiError.of(503, {"code": body["error"]["code"], "detail": body["error"]["message"]}, {})
        return body
