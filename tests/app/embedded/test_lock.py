"""The lock of a data folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded.errors import CannotStart
from app.embedded.lock import LOCK_NAME, Holder, holder_of, locked

HOLD_UNTIL_KILLED = "import sys, time; from pathlib import Path; from app.embedded.lock import locked\n"
HOLD_UNTIL_KILLED += "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"


def test_a_second_service_is_told_which_process_has_the_folder(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(CannotStart, match=f"in use by process {os.getpid()}.*--data-dir"):  # noqa: SIM117
        with locked(tmp_path):
            pass


def test_the_holder_is_known_while_the_lock_is_held_and_not_after(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        assert holder_of(tmp_path) == Holder(os.getpid())
        lock.tell(Holder(os.getpid(), "http://127.0.0.1:1"))
        assert holder_of(tmp_path) == Holder(os.getpid(), "http://127.0.0.1:1")
    assert holder_of(tmp_path) is None


def test_a_folder_that_is_not_there_has_no_holder(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "none") is None


def test_a_killed_holder_leaves_a_free_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        assert holder_of(tmp_path) == Holder(other.pid)
        other.kill()
    assert (tmp_path / LOCK_NAME).read_text() != ""
    with locked(tmp_path):
        assert holder_of(tmp_path) == Holder(os.getpid())


def test_a_new_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
