"""A replica as it is deployed: uvicorn in a process of its own, which may be killed and come back at its address."""

import os
import subprocess
import sys
from pathlib import Path

from app.embedded.sockets import listen, port_of
from app.settings import Settings
from tests.support.workers import environment_of


class ReplicaServer:
    """While its process does not live, connections are refused, as by a container that is gone."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._log = folder / "replica.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        listener = listen("127.0.0.1", self._port)
        self._port = port_of(listener)
        descriptor = listener.fileno()
        command = (sys.executable, "-m", "uvicorn", "worker.serving.asgi:app", "--fd", str(descriptor))
        environment = environment_of(self._settings, inference_address=self.address)
        with listener, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=dict(os.environ) | environment, stdout=log, stderr=log, pass_fds=(descriptor,)
            )

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
