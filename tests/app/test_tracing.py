"""When traces are sent, and what a span tells and does not tell."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.tracing import Stages, _wanted, traces
from app.tracing.otel import Spans

ROOT = Path(__file__).parents[2]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    spans = Spans("test", SimpleSpanProcessor(exporter))
    monkeypatch.setattr(traces, "_spans", spans)
    yield exporter
    spans.stop()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_traces_are_sent_where_the_environment_asks_for_them(environment: dict[str, str], wanted: bool) -> None:
    assert _wanted(environment) is wanted


def test_who_does_not_ask_for_traces_loads_nothing_of_them() -> None:
    code = "import sys; from app.tracing import traces; traces.start('test'); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert not [name for name in done.stdout.split() if name.startswith("opentelemetry")]


def test_without_the_extra_a_process_starts_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT["OTEL_EXPORTER_OTLP_ENDPOINT"])
    monkeypatch.setitem(sys.modules, "app.tracing.otel", None)
    traces.start("test")
    assert "pip install 'pretune[otel]'" in caplog.text
    assert traces.current() is None
    with traces.span("nothing"):
        traces.tell("nothing", 1.0)


def test_a_span_stands_in_the_parent_that_a_row_or_a_header_carried(told: InMemorySpanExporter) -> None:
    with traces.span("attempt", parent=PARENT, job_id="job_1"):
        carried = traces.current()
        with traces.span("train"):
            traces.tell("steps", 2.0)
    steps, train, attempt = told.get_finished_spans()
    assert attempt.parent is not None
    assert attempt.context is not None
    assert f"00-{attempt.parent.trace_id:032x}-{attempt.parent.span_id:016x}-01" == PARENT
    assert carried == f"00-{attempt.context.trace_id:032x}-{attempt.context.span_id:016x}-01"
    assert attempt.attributes == {"pretune.job_id": "job_1"}
    assert train.parent == attempt.context
    assert steps.parent == train.context
    assert steps.end_time is not None
    assert steps.start_time is not None
    assert steps.end_time - steps.start_time == 2_000_000_000


def test_a_failure_is_told_by_its_type_and_never_by_its_text(told: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), traces.span("work"):
        raise ValueError("a secret of the user's")
    [span] = told.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes == {"error.type": "ValueError"}
    assert "secret" not in span.to_json()


def test_stages_follow_each_other_and_leave_nothing_out(told: InMemorySpanExporter) -> None:
    with traces.span("request"):
        stages = Stages()
        stages.end("queue")
        stages.end("forward", rows=3)
    queue, forward, request = told.get_finished_spans()
    assert queue.parent is not None
    assert forward.parent is not None
    assert request.context is not None
    assert queue.parent.span_id == forward.parent.span_id == request.context.span_id
    assert queue.end_time is not None
    assert forward.start_time is not None
    assert abs(forward.start_time - queue.end_time) < 1_000_000_000
    assert forward.attributes == {"pretune.rows": 3}


def test_stages_outside_of_any_span_are_not_told(told: InMemorySpanExporter) -> None:
    Stages().end("queue")
    assert not told.get_finished_spans()
