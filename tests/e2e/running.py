"""A real `pretune up`, as a user starts it: processes, sockets, files."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.embedded.lock import holder_of
from pretune import Client
from tests.support.processes import children_of, command_of, descendants_of
from tests.support.waiting import wait_until

START_SECONDS = 150.0
STOP_SECONDS = 90.0
#: Short enough to see a lease expire, long enough for a busy machine.
QUICK = {
    "PRETUNE_LEASE_SECONDS": "5",
    "PRETUNE_HEARTBEAT_SECONDS": "1",
    "PRETUNE_HOUSEKEEPING_SECONDS": "0.5",
    "PRETUNE_IDLE_POLL_SECONDS": "0.5",
    "PRETUNE_THREADS": "1",  # models this small gain nothing by more, and on a busy machine threads wait by spinning
}


class RunningService:
    """`output` is what a user would have read in the terminal."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self._output = data_dir.with_name(f"{data_dir.name}.out")
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                up_command(data_dir), stdout=output, stderr=subprocess.STDOUT, env=environment_of(environment)
            )
        self.url = ""

    def wait_until_up(self) -> None:
        def told() -> str | None:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.output}"
            holder = holder_of(self.data_dir)
            return holder.url if holder else None

        self.url = wait_until(told, START_SECONDS, f"{self.data_dir} is up") or ""

    @property
    def output(self) -> str:
        return self._output.read_text()

    def client(self, key: str | None = None) -> Client:
        return Client(self.url, key)

    def members(self) -> dict[str, int]:
        """The pids of the children by name."""
        words = {"broker": "valkey-server", "inference": "worker.serving.asgi:app", "api": "app.main:app"}
        words["trainer"] = "worker.celery_app"
        commands = {pid: command_of(pid) for pid in children_of(self.process.pid)}
        return {name: pid for name, word in words.items() for pid, command in commands.items() if word in command}

    def descendants(self) -> set[int]:
        return descendants_of(self.process.pid)

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        """The exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running(data_dir: Path, **environment: str) -> Iterator[RunningService]:
    service = RunningService(data_dir, **environment)
    try:
        service.wait_until_up()
        yield service
    finally:
        service.end()


def up_command(data_dir: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", "up", "--data-dir", str(data_dir), *(options or ("--port", "0"))]


def environment_of(given: Mapping[str, str]) -> dict[str, str]:
    """Ours without any setting of a service that this machine may run."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PRETUNE_")}
    return clean | QUICK | dict(given)


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
