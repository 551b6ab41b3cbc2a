"""A server with an open stream stops at once, whatever its grace."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx2
import pytest

from app.db.session import Database
from app.settings import Settings
from tests.factories import make_job

DEADLINE_SECONDS = 20.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_open_stream_does_not_hold_a_server_up(database: Database, settings: Settings, number: int) -> None:
    job = make_job(database)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _start(database, job.id, listener)
        try:
            url = "http://{}:{}".format(*listener.getsockname())
            with httpx2.stream("GET", url, timeout=DEADLINE_SECONDS) as answer:
                chunks = answer.iter_bytes()
                assert next(chunks) == b"1"
                told_at = time.monotonic()
                server.send_signal(number)
                assert list(chunks) == [], "the stream ends in order: its client can tell that nothing was cut"
            server.wait(DEADLINE_SECONDS)
            assert time.monotonic() - told_at < DEADLINE_SECONDS / 2
        finally:
            server.kill()
            server.wait()


def _start(database: Database, job_id: str, listener: socket.socket) -> "subprocess.Popen[bytes]":
    """Without a timeout for its shutdown it would wait for ever. The socket listens already, before its server does."""
    environment = {
        "PRETUNE_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "STREAMED_JOB": job_id,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "tests.support.streaming_server:app", "--fd", str(listener.fileno())],
        env=os.environ | environment,
        pass_fds=[listener.fileno()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
