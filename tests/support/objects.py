"""A real S3 API over HTTP in a thread of this process, and a way to it that breaks, waits and closes as told."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from uuid import uuid4

import httpx2
from moto.server import ThreadedMotoServer

#: Any do: it lets in whoever signs, unless it is told otherwise.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "any-secret-of-tests"}


class ObjectServer:
    def __init__(self, server: ThreadedMotoServer) -> None:
        self.host, self.port = server.get_host_and_port()
        self.endpoint = f"http://{self.host}:{self.port}"

    def new_bucket(self) -> str:
        name = f"bucket-{uuid4().hex[:12]}"
        httpx2.put(f"{self.endpoint}/{name}").raise_for_status()
        return name

    def unfinished_uploads(self, bucket: str) -> int:
        return httpx2.get(f"{self.endpoint}/{bucket}?uploads").raise_for_status().text.count("<UploadId>")

    @contextmanager
    def letting_nobody_in(self) -> Iterator[None]:
        """Credentials are asked for, and none are known."""
        self._unchecked_requests("0")
        try:
            yield
        finally:
            self._unchecked_requests("inf")

    def _unchecked_requests(self, count: str) -> None:
        httpx2.post(f"{self.endpoint}/moto-api/reset-auth", content=count).raise_for_status()


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield ObjectServer(server)
    finally:
        server.stop()


class Way:
    """To a server, through a port of its own. `break_after`: a connection that has carried so many bytes one way
    breaks, and takes its number off the list; `seconds_per_mebibyte`: what the way there takes; `closed`: nobody comes
    through; while `passing` is cleared, nothing gets through, and nothing breaks either."""

    def __init__(self, server: ObjectServer) -> None:
        self._target = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.break_after: list[int] = []
        self.seconds_per_mebibyte = 0.0
        self.closed = False
        self.passing = threading.Event()
        self.passing.set()
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """What is open is broken off."""
        self.closed = True
        self.passing.set()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.close()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                if self.closed:
                    connection.close()
                else:
                    threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with closing(connection), socket.create_connection(self._target) as target:
            self._open += [connection, target]
            back = threading.Thread(target=self._pump, args=(target, connection), daemon=True)
            back.start()
            self._pump(connection, target, self.seconds_per_mebibyte)
            back.join()

    def _breaks(self, carried: int) -> bool:
        with self._lock:
            if not self.break_after or carried < self.break_after[0]:
                return False
            self.break_after.pop(0)
            return True

    def _pump(self, source: socket.socket, sink: socket.socket, seconds: float = 0.0) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(seconds * len(data) / (1 << 20))
                carried += len(data)
                self.passing.wait()
                if self._breaks(carried):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def way_to(server: ObjectServer) -> Iterator[Way]:
    way = Way(server)
    try:
        yield way
    finally:
        way.end()
