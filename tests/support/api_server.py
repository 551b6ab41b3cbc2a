"""The api as it is deployed: uvicorn in a process of its own, which may be killed and started again at one address."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from app.embedded.members import answers
from app.embedded.sockets import listen, url_of
from app.settings import Settings
from tests.support.waiting import wait_until
from tests.support.workers import environment_of

APPLICATION = "app.main:app"
VECTORS = "".join(json.dumps({"features": [number, 1.0, 2.0, 3.0]}) + "\n" for number in range(20))


class ApiServer:
    """While none of its processes lives, requests wait in the backlog of its socket, as under `pretune up`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._log = folder / "api.log"
        self._listener = listen("127.0.0.1", 0)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return url_of(self._listener)

    def start(self, application: str = APPLICATION) -> "subprocess.Popen[bytes]":
        """`application` is one that fails in a chosen way, or the real one."""
        assert not self.lives()
        descriptor = self._listener.fileno()
        command = (sys.executable, "-m", "uvicorn", application, "--fd", str(descriptor), "--no-access-log")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(os.environ) | environment_of(self._settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(descriptor,),
            )
        return self._process

    def wait_until_ready(self) -> None:
        wait_until(lambda: answers(self._listener, "/readyz"), 60, f"the api is ready:\n{self._log.read_text()}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """As whoever deploys it would: with SIGTERM."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def close(self) -> None:
        self.kill()
        self._listener.close()

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=60)


def upload_vectors(http: httpx2.Client) -> str:
    """The id of a small data set."""
    answer = http.post("/v1/datasets", files={"file": ("vectors.jsonl", VECTORS.encode())}, data={"kind": "vectors"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def scripted_job(dataset_id: str, *, steps: int, checkpoint_every: int, script: Mapping[str, str]) -> dict[str, Any]:
    """The body of a POST; `script` is obeyed by `tests.support.scripted_training`."""
    return {
        "kind": "pretrain",
        "dataset": dataset_id,
        "method": {"type": "autoencoder"},
        "training": {"duration": {"steps": steps}, "checkpoint_every": {"steps": checkpoint_every}},
        "metadata": dict(script),
    }
