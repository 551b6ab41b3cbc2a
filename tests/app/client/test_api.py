"""The client against a scripted server on a real socket: streams that break, errors, outages."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.client import Api, ApiError, ClientError, Event
from app.client.following import JobDidNotSucceed, follow_to_success

PROBLEM = {
    "status": 422,
    "code": "validation_failed",
    "detail": "The body is not valid.",
    "errors": [{"location": "training.batch_size", "message": "must be positive"}],
}


class Script(BaseHTTPRequestHandler):
    """Job `good` breaks its stream after event 2; `bad` fails; whatever else is refused."""

    def do_GET(self) -> None:
        match self.path:
            case "/v1/jobs/good/events":
                self.answer_events([3] if self.headers.get("Last-Event-ID") == "2" else [1, 2])
            case "/v1/jobs/good":
                status = "succeeded" if self.server.asked > 1 else "running"  # type: ignore[attr-defined]
                self.answer({"status": status, "model_id": "model_1"})
            case "/v1/jobs/bad/events":
                self.answer_events([1])
            case "/v1/jobs/bad":
                self.answer({"name": "bad", "status": "failed", "error": {"code": "bad_data", "message": "no labels"}})
            case _:
                self.answer(PROBLEM, 422)

    def answer_events(self, ids: list[int]) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        for number in ids:
            body = json.dumps({"id": number, "type": "log", "data": {"message": f"event {number}"}})
            self.wfile.write(f": heartbeat\n\nid: {number}\nevent: log\ndata: {body}\n\n".encode())

    def answer(self, body: object, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Script) as server:
        server.asked = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Api(f"http://127.0.0.1:{server.server_port}") as api:
            yield api
        server.shutdown()
        thread.join()


def test_a_broken_stream_goes_on_after_the_last_event(api: Api) -> None:
    events: list[Event] = []
    view = follow_to_success(api, "good", events.append)
    assert [(event.id, event.type, event.data["message"]) for event in events] == [
        (number, "log", f"event {number}") for number in (1, 2, 3)
    ]
    assert view["model_id"] == "model_1"


def test_a_job_that_fails_is_told_with_its_reason(api: Api) -> None:
    with pytest.raises(JobDidNotSucceed, match=r"bad failed \(bad_data\): no labels"):
        follow_to_success(api, "bad")


def test_an_error_carries_its_code_and_names_the_place(api: Api) -> None:
    with pytest.raises(ApiError, match=r"training\.batch_size: must be positive") as told:
        api.version()
    assert (told.value.status, told.value.code) == (422, "validation_failed")


def test_a_service_that_is_not_there_is_told_with_its_address(tmp_path: Path) -> None:
    with Api("http://127.0.0.1:9") as api, pytest.raises(ApiError, match="No service answers at http://127") as told:
        api.wait_until_ready(0)
    assert told.value.code == "no_answer"


def test_an_address_without_a_scheme_is_told_at_once() -> None:
    with pytest.raises(ClientError, match="begins with http://"):
        Api("localhost:8080")
