"""A real Valkey behind a socket file, without the service around it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import redis

from app.embedded import broker
from tests.support.waiting import wait_until


class ValkeyServer:
    """With its data in `folder`, the socket too, which must be a short path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "valkey.sock"
        self._process: subprocess.Popen[bytes] | None = None
        folder.chmod(0o700)

    @property
    def socket(self) -> Path:
        return self._socket

    @property
    def url(self) -> str:
        return f"redis+socket://{quote(str(self._socket))}"

    def start(self) -> None:
        broker.prepare(self._socket, self._folder)
        command = broker.command(broker.find_binary(), self._socket, self._folder)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})
        wait_until(lambda: broker.answers(self._socket), 10, "the broker answers")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """What a lost disk does to a broker that is down."""
        for path in sorted(self._folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def num_messages(self, queue: str) -> int:
        with self.connect() as connection:
            length = connection.llen(queue)
        assert isinstance(length, int)
        return length

    def connect(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._socket))

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def valkey_server(folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
