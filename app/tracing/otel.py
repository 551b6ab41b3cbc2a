"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Imported only where they are asked for: see the package.

Sampling, limits, headers, the resource: whatever is not said here is as the standard variables OTEL_* say.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from time import time_ns

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode, get_current_span, set_tracer_provider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attribute = str | int | float | bool

#: For the last spans of a process that ends: a collector that does not answer holds nobody up for longer.
LAST_SECONDS = 2.0
_TRACEPARENT = "traceparent"
_propagator = TraceContextTextMapPropagator()


class Spans:
    """What `Traces` promises."""

    def __init__(self, service: str, processor: SpanProcessor | None = None) -> None:
        """`processor` takes the spans in place of the exporter that the environment names."""
        ours = Resource.create({"service.name": f"pretune-{service}", "service.version": version("pretune")})
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("pretune")

    def share(self) -> None:
        """Become OpenTelemetry's own provider, where FastAPI finds us. It can be done once in a process."""
        set_tracer_provider(self._provider)

    def stop(self) -> None:
        """The SDK's own bounds did not hold: a collector that was away took 15 s, one that hung 20 s (1.45)."""
        ending = Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(LAST_SECONDS)

    def current(self) -> str | None:
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get(_TRACEPARENT)

    @contextmanager
    def span(self, name: str, parent: str | None, attributes: Mapping[str, Attribute]) -> Iterator[None]:
        """What an exception says may hold what users sent: its type is told, and no more."""
        with self._tracer.start_as_current_span(
            name,
            _context(parent),
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def note(self, attributes: Mapping[str, Attribute]) -> None:
        get_current_span().set_attributes(_named(attributes))

    def routed(self, method: str, route: str) -> None:
        span = get_current_span()
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)

    def tell(self, name: str, seconds: float, parent: str | None, attributes: Mapping[str, Attribute]) -> None:
        now = time_ns()
        began = now - int(seconds * 1e9)
        self._tracer.start_span(name, _context(parent), start_time=began, attributes=_named(attributes)).end(now)


def _context(parent: str | None) -> Context | None:
    """Null means the current one."""
    return None if parent is None else _propagator.extract({_TRACEPARENT: parent})


def _named(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"pretune.{name}": value for name, value in attributes.items()}
