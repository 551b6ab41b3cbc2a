"""`pretune up` as a process that goes on without us, and its end. Both meet it by the lock of its data folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.embedded.errors import CannotStart
from app.embedded.lock import Holder, holder_of

START_SECONDS = 180.0
POLL_SECONDS = 0.2


def ensure_running(data_dir: Path, port: int) -> str:
    """The address of the service on that folder, which is started where none runs. Raises CannotStart."""
    holder = holder_of(data_dir)
    started = None if holder else _start(data_dir, port)
    deadline = time.monotonic() + START_SECONDS
    while holder is None or holder.url is None:
        if started is not None and started.poll() is not None:
            raise CannotStart(_console_log(data_dir).read_text().strip())
        if time.monotonic() > deadline:
            raise CannotStart(f"The service does not come up; see {_console_log(data_dir)}.")
        time.sleep(POLL_SECONDS)
        holder = holder_of(data_dir)
    return holder.url


def stop(data_dir: Path, timeout_seconds: float) -> Holder | None:
    """End the service on that folder in order; None where none runs. Raises TimeoutError."""
    holder = holder_of(data_dir)
    if holder is None:
        return None
    os.kill(holder.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_seconds
    while holder_of(data_dir) == holder or _lives(holder.pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Process {holder.pid} still runs after {timeout_seconds:.0f} s.")
        time.sleep(POLL_SECONDS)
    return holder


def _start(data_dir: Path, port: int) -> "subprocess.Popen[bytes]":
    """In a session of its own: a ctrl-C for the demo is none for the service."""
    log = _console_log(data_dir)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "app.cli", "up", "--data-dir", str(data_dir), "--port", str(port)]
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _console_log(data_dir: Path) -> Path:
    return data_dir / "logs" / "up.log"


def _lives(pid: int) -> bool:
    """One that has ended and waits for its parent, who may be waiting for us, to ask how does not. Where there is no
    /proc, the lock alone tells."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
