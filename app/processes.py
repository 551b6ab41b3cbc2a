"""Child processes that cannot outlive us. Knows nothing of what they do.

A parent-death signal fires when the *thread* that started the child ends, so one permanent thread starts them all.
The child sets the signal itself, then looks whether its parent has already gone: that closes the race.
"""

import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

PARENT_PID_VARIABLE = "PRETUNE_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Called first thing by a child started through `ChildStarter`: SIGKILL for us when our parent dies (Linux)."""
    expected = os.environ.pop(PARENT_PID_VARIABLE, None)
    if expected is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(expected):
        os._exit(1)


class ChildStarter:
    """One thread, as old as this process, that starts every child. Each child leads a process group of its own."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], Sequence[str], dict[str, Any]]]
        self._requests = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="child-starter", daemon=True).start()

    def start(
        self, command: Sequence[str], *, env: dict[str, str] | None = None, **popen_options: Any
    ) -> "subprocess.Popen[bytes]":
        """Like Popen. The child must call `die_with_parent` (or be started through `python -m app.processes`)."""
        environment = dict(os.environ if env is None else env) | {PARENT_PID_VARIABLE: str(os.getpid())}
        future: Future[subprocess.Popen[bytes]] = Future()
        self._requests.put((future, command, popen_options | {"env": environment, "start_new_session": True}))
        return future.result()

    def _serve(self) -> None:
        while True:
            future, command, options = self._requests.get()
            try:
                future.set_result(subprocess.Popen(command, **options))
            except Exception as error:  # noqa: BLE001  the starter must outlive any one failure; the caller gets it
                future.set_exception(error)


def kill_group(process: "subprocess.Popen[bytes]", signal_number: int = signal.SIGKILL) -> None:
    """Signal a child's whole process group; a group that has gone is no error."""
    try:
        os.killpg(process.pid, signal_number)
    except ProcessLookupError:
        pass


def main() -> None:
    """`python -m app.processes COMMAND...`: die with the parent, then become a program that knows nothing of it."""
    die_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
