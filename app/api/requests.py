"""Outside of everything else: each request gets an id, a line in the log and a count, and no exception gets past.

Pure ASGI. The log tells method, route, status and time; never a header, a query or a body.
"""

import re
import time
from dataclasses import dataclass

import structlog
import uuid_utils
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import Problem
from app.api.metrics import RequestMetrics
from app.contract.errors import ServiceError

REQUEST_ID = "x-request-id"
_SANE_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
#: Asked every few seconds: in logs and traces they would hide everything else.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_UNKNOWN_METHOD = "OTHER"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = structlog.get_logger(__name__)


class Requests:
    def __init__(self, app: ASGIApp, *, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _request_id(scope))
        started_at = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=answer.request_id):
            try:
                await self._app(scope, receive, answer.send)
            except Exception:
                _log.exception("request_failed", method=scope["method"], route=_route(scope))
                if answer.status is not None:
                    raise  # half an answer was sent: the server must break the connection
                await Problem(_fault(answer.request_id))(scope, receive, answer.send)
            finally:
                self._tell(scope, answer, time.perf_counter() - started_at)

    def _tell(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        """No status: the client went away before there was an answer."""
        status, route = answer.status or 499, _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else _UNKNOWN_METHOD
        self._metrics.observe(method, route, status, None if answer.streamed else seconds)
        if scope["path"] not in PROBES or status >= 500:
            _log.info("request", method=method, route=route, status=status, milliseconds=round(1000 * seconds, 1))


@dataclass(slots=True)
class _Answer:
    """What was sent of an answer, and its id in it."""

    _send: Send
    request_id: str
    status: int | None = None
    streamed: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            self.streamed = headers.get("content-type", "").startswith("text/event-stream")
        await self._send(message)


def _request_id(scope: Scope) -> str:
    """The client's or the proxy's own, so that their logs and ours can be joined."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid_utils.uuid4().hex


def _route(scope: Scope) -> str:
    """The template: paths hold ids. What no router knows is all one."""
    return getattr(scope.get("route"), "path_format", None) or "unmatched"


def _fault(request_id: str) -> ServiceError:
    return ServiceError(f"The service has a fault. The log tells more of the request {request_id}.")
