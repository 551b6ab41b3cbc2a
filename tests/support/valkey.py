"""A real Valkey behind a socket file, without the service around it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from app.embedded import broker
from tests.support.waiting import wait_until


@contextmanager
def valkey_server(folder: Path) -> Iterator[str]:
    """Its URL."""
    path = folder / "valkey.sock"
    folder.chmod(0o700)
    broker.prepare(path, folder)
    command = broker.command(broker.find_binary(), path, folder)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"}) as server:
        try:
            wait_until(lambda: broker.answers(path), 10, "the broker answers")
            yield f"redis+socket://{quote(str(path))}"
        finally:
            server.kill()
