"""One trace from a request to the checkpoints of its job, and one from a question to the forward pass: through real
processes, to a real receiver of OTLP."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.running import RunningService, running
from tests.e2e.specs import pretrain, text_file
from tests.support.collector import Collector, Span, collector

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as server:
        yield server


@pytest.fixture
def traced_service(received: Collector, tmp_path: Path) -> Iterator[RunningService]:
    with running(tmp_path / "data", OTEL_EXPORTER_OTLP_ENDPOINT=received.url) as service:
        yield service


def test_what_a_request_set_off_is_one_trace(
    received: Collector, traced_service: RunningService, tmp_path: Path
) -> None:
    with traced_service.client() as client:
        text = client.datasets.upload(text_file(tmp_path), kind="text")
        posted = ask(traced_service, "/v1/jobs", pretrain(text.id))
        job = client.jobs.get(posted["id"])
        model = job.wait().model()
        ask(traced_service, f"/v1/models/{model.id}/generate", {"prompt": "The", "parameters": {"max_tokens": 5}})
        ask(traced_service, f"/v1/models/{model.id}/predict", {"inputs": ["The", "An expression"]})
        checkpoints = [checkpoint.step for checkpoint in job.checkpoints()]
    assert traced_service.end() == 0, "what is still to be sent is sent at the end"

    spans = Trace([span for span in received.spans if span.trace_id == TRACE])
    post = spans.one("POST /v1/jobs")
    assert (post.service, post.parent_id) == ("pretune-api", CALLER)
    attempt = spans.one("attempt", post)
    assert attempt.service == "pretune-trainer"
    assert attempt.attributes["pretune.job_id"] == job.id
    assert attempt.attributes["pretune.status"] == "succeeded"
    queue, claim = spans.one("queue", post), spans.one("claim", post)
    assert queue.began <= claim.began <= attempt.began
    assert {span.name for span in spans.within(attempt)} == {"prepare", "train", "conclude"}
    train = spans.one("train", attempt)
    published = [span for span in spans.within(train) if span.name == "checkpoint"]
    assert [span.attributes["pretune.step"] for span in published][-len(checkpoints) :] == checkpoints
    assert spans.one("load", train).ended <= published[0].began
    assert all(train.began <= span.began <= span.ended <= train.ended for span in spans.within(train))

    generated = spans.one("POST /v1/models/{model}/generate")
    assert generated.attributes["http.route"] == "/v1/models/{model}/generate"
    infer = spans.one("infer", generated)
    assert (infer.service, infer.attributes["pretune.model_id"]) == ("pretune-inference", model.id)
    assert {"load", "queue", "prompt", "text"} == {span.name for span in spans.within(infer)}
    assert spans.one("text", infer).attributes["pretune.tokens"] == 5
    predicted = spans.one("infer", spans.one("POST /v1/models/{model}/predict"))
    assert {"queue", "forward"} == {span.name for span in spans.within(predicted)}
    assert not [span for span in spans.all if span.failed]
    assert not [span for span in received.spans if "readyz" in span.name], "probes would hide everything else"


class Trace:
    def __init__(self, spans: list[Span]) -> None:
        self.all = spans

    def within(self, parent: Span) -> list[Span]:
        """In the order in which they began."""
        return sorted((span for span in self.all if span.parent_id == parent.span_id), key=lambda span: span.began)

    def one(self, name: str, parent: Span | None = None) -> Span:
        found = [span for span in (self.within(parent) if parent else self.all) if span.name == name]
        assert len(found) == 1, (name, sorted({span.name for span in self.all}))
        return found[0]


def ask(service: RunningService, path: str, body: object) -> dict[str, str]:
    """As a program does that is traced itself."""
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    answer = httpx2.post(f"{service.url}{path}", json=body, headers=headers, timeout=60)
    assert answer.is_success, answer.text
    told: dict[str, str] = answer.json()
    return told
