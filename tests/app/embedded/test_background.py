"""The end of a service that goes on without us, whoever has started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.background import stop
from app.embedded.lock import Holder, holder_of
from tests.support.processes import exists
from tests.support.waiting import wait_until

#: Holds a folder until SIGTERM, as `pretune up` does.
HOLDER = """
import signal, sys
from pathlib import Path
from app.embedded.lock import locked
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with locked(Path(sys.argv[1])):
    signal.pause()
"""

#: The same, as a grandchild of ours whose parent has ended.
STARTER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])"


def holder_within(data_dir: Path) -> Holder:
    return wait_until(lambda: holder_of(data_dir), 60, "the folder should be held")


def test_a_service_that_we_have_started_ourselves_is_stopped(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)]) as process:
        holder_within(tmp_path)
        assert stop(tmp_path, 30) == Holder(process.pid)
        assert not exists(process.pid)
    assert holder_of(tmp_path) is None


def test_a_service_of_another_is_stopped(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", STARTER, HOLDER, str(tmp_path)], check=True)
    holder = holder_within(tmp_path)
    assert holder.pid != os.getpid()
    assert stop(tmp_path, 30) == holder
    assert not exists(holder.pid)


def test_a_service_whose_parent_waits_for_us_is_stopped(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)]):
        holder_within(tmp_path)
        stopping = f"import pathlib, app.embedded.background as b; b.stop(pathlib.Path({str(tmp_path)!r}), 30)"
        subprocess.run([sys.executable, "-c", stopping], check=True)


def test_a_service_that_does_not_end_is_told(tmp_path: Path) -> None:
    deaf = HOLDER.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN").replace(
        "signal.pause()", "import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf, str(tmp_path)]) as process:
        holder_within(tmp_path)
        with pytest.raises(TimeoutError, match=f"{process.pid} still runs"):
            stop(tmp_path, 0.5)
        process.kill()


def test_where_nothing_runs_nothing_is_stopped(tmp_path: Path) -> None:
    assert stop(tmp_path, 1) is None
