"""Members: started, watched, started again, ended. Real child processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.embedded import member as module
from app.embedded.member import Member, MemberSpec
from app.processes import ChildStarter
from tests.support.waiting import wait_until


def member_of(folder: Path, script: str) -> Member:
    spec = MemberSpec(
        name="child",
        command=[sys.executable, "-c", script],
        environment=dict(os.environ),
        ready=lambda: True,
        stop_seconds=5.0,
    )
    return Member(spec, ChildStarter(), folder)


def death_of(member: Member) -> str:
    ending: list[str] = []

    def dead() -> bool:
        if (told := member.death()) is not None:
            ending.append(told)
        return bool(ending)

    wait_until(dead, 60, "the child dies")
    return ending[0]


def test_a_death_is_told_once_with_its_cause(tmp_path: Path) -> None:
    member = member_of(tmp_path, "raise SystemExit(7)")
    member.start()
    assert death_of(member) == "ended with status 7"
    assert member.death() is None


def test_a_kill_is_told_by_the_name_of_its_signal(tmp_path: Path) -> None:
    member = member_of(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    member.start()
    assert death_of(member) == "was killed by SIGKILL"


def test_what_it_wrote_last_is_at_hand(tmp_path: Path) -> None:
    member = member_of(tmp_path, "import sys; print('out'); print('cause', file=sys.stderr)")
    member.start()
    death_of(member)
    assert sorted(member.log_tail().split()) == ["cause", "out"]


def test_each_death_in_a_row_doubles_the_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    member = member_of(tmp_path, "pass")
    member.start()
    for pause_seconds in (0.5, 1.0, 2.0):
        assert member._process is not None
        member._process.wait()
        assert member.death() is not None
        clock[0] += pause_seconds - 0.01
        assert not member.start_if_due()
        clock[0] += 0.02
        assert member.start_if_due()
    clock[0] += module.HEALTHY_SECONDS
    assert member._process is not None
    member._process.wait()
    assert member.death() is not None
    clock[0] += 0.51
    assert member.start_if_due()
    member.kill()


def test_asked_to_end_it_ends(tmp_path: Path) -> None:
    member = member_of(tmp_path, "import signal; signal.pause()")
    member.start()
    assert not member.has_ended()
    member.ask_to_end()
    wait_until(member.has_ended, 60, "SIGTERM ends it")


def test_a_full_log_is_set_aside_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 10)
    (tmp_path / "child.log").write_text("older than the start\n")
    member = member_of(tmp_path, "print('new')")
    member.start()
    death_of(member)
    assert (tmp_path / "child.log").read_text() == "new\n"
    assert (tmp_path / "child.log.1").read_text() == "older than the start\n"


PARENT = """
import sys, time
from pathlib import Path
from tests.app.embedded.test_member import member_of
member = member_of(Path(sys.argv[1]), "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
member.start()
time.sleep(60)
"""


def test_it_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)]) as parent:
        log = tmp_path / "child.log"
        wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 60, "the child tells its pid")
        child = int(log.read_text())
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 30, "the child is gone")
