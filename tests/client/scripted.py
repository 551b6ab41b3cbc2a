"""A service on a real socket that answers by script, so that connections break when they are asked to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`breaks`: the connection ends in the middle of it."""

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False


@dataclass(slots=True)
class Script:
    """`answer` gets each request; `requests` are those that came."""

    answer: Callable[[Request], Answer]
    url: str = ""
    requests: list[Request] = field(default_factory=list)


def in_turn(*answers: Answer) -> Callable[[Request], Answer]:
    """One after the other, whatever is asked."""
    left = iter(answers)
    return lambda _: next(left)


def problem(status: int, code: str = "a_code", *, headers: dict[str, str] | None = None) -> Answer:
    return Answer({"status": status, "code": code, "detail": f"It is {code}."}, status, headers or {})


def events(*ids: int) -> Answer:
    """Of a job: one log each, as the service writes them."""
    lines = [": heartbeat\n\n", "retry: 1000\n\n"]
    for number in ids:
        event = {"id": number, "type": "log", "created_at": "2026-01-01T00:00:00Z", "data": {"message": str(number)}}
        lines.append(f"id: {number}\nevent: log\ndata: {json.dumps(event)}\n\n")
    return Answer("".join(lines).encode())


@contextmanager
def scripted(answer: Callable[[Request], Answer]) -> Iterator[Script]:
    script = Script(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            request = Request(self.command, self.path, dict(self.headers.items()), self._body())
            script.requests.append(request)
            answer = script.answer(request)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + answer.breaks))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  as http.server calls them

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
