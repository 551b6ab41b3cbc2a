"""Traces, where the environment asks for them and the extra `otel` is installed. Knows no job.

Otherwise nothing of OpenTelemetry is loaded from here, and each call is one comparison. A span tells names, ids and
sizes; never a spec, an input or an output. What a span is within is the current context's, or what `parent` says: a W3C
`traceparent`, which a row or a header carries from one process to the next.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.tracing.otel import Attribute, Spans

__all__ = ["Stages", "traces"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OUR_PROTOCOL = "http/protobuf"

_log = logging.getLogger(__name__)


class Traces:
    """One for a process: `traces`. From any thread."""

    def __init__(self) -> None:
        self._spans: Spans | None = None

    def start(self, service: str) -> None:
        """Send spans from now on, as `service` where OTEL_SERVICE_NAME says nothing else. What keeps it from that is
        told in the log: no process fails to start for want of traces.
        """
        if self._spans is not None or not _wanted(os.environ):
            return
        try:
            from app.tracing.otel import Spans  # noqa: PLC0415  loaded by those alone who asked for it
        except ImportError:
            _log.warning("The environment asks for traces, but OpenTelemetry is missing: pip install 'pretune[otel]'")
        else:
            self._spans = Spans(service)
            self._spans.share()

    def stop(self) -> None:
        """Send what there is still."""
        if self._spans is not None:
            self._spans.stop()
            self._spans = None

    def current(self) -> str | None:
        """The current span as a `traceparent`; null where there is none."""
        return None if self._spans is None else self._spans.current()

    def span(self, name: str, *, parent: str | None = None, **attributes: "Attribute") -> AbstractContextManager[None]:
        """Around a block, within which it is the current one. An exception that leaves the block marks it as failed."""
        return nullcontext() if self._spans is None else self._spans.span(name, parent, attributes)

    def note(self, **attributes: "Attribute") -> None:
        """More about the current span."""
        if self._spans is not None:
            self._spans.note(attributes)

    def routed(self, method: str, route: str) -> None:
        """The current span is that of a request to this route: for those that no router sees."""
        if self._spans is not None:
            self._spans.routed(method, route)

    def tell(self, name: str, seconds: float, *, parent: str | None = None, **attributes: "Attribute") -> None:
        """A span that ends now, and lasted so long."""
        if self._spans is not None:
            self._spans.tell(name, seconds, parent, attributes)


class Stages:
    """Spans end to end, of something that goes from stage to stage, within what is the current span now."""

    def __init__(self) -> None:
        self._parent = traces.current()
        self._began_at = perf_counter()

    def end(self, name: str, **attributes: "Attribute") -> None:
        """The stage ends now, and the next one begins. From any thread, one at a time."""
        if self._parent is not None:
            now = perf_counter()
            traces.tell(name, now - self._began_at, parent=self._parent, **attributes)
            self._began_at = now

    def beside(self, name: str, **attributes: "Attribute") -> AbstractContextManager[None]:
        """A block with a span of its own, while the stages go on; from any thread."""
        return traces.span(name, parent=self._parent, **attributes)


def _wanted(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    named = exporter == "otlp" or (not exporter and any(environment.get(name) for name in _ENDPOINTS))
    if not named or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _OUR_PROTOCOL)
    if protocol != _OUR_PROTOCOL:
        _log.warning("Traces are sent by OTLP over %s alone, and not over %s", _OUR_PROTOCOL, protocol)
    return protocol == _OUR_PROTOCOL


traces = Traces()
