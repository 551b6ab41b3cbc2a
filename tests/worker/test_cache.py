"""The cache of a machine: made once by whichever process is first, bounded, and never taken from under anybody."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from worker.cache import Cache

#: A process that does what its script says with `cache` and `say`, and is told to go on by a line.
PROCESS = """
import sys
from pathlib import Path
from worker.cache import Cache
cache = Cache(Path(sys.argv[1]))
def say(word): print(word, flush=True)
def made(content):
    def make(path):
        say("making")
        sys.stdin.readline()
        path.write_bytes(content)
    return make
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], "subprocess.Popen[str]"]:
    def start(script: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS + script, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    return start


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        with process:
            process.kill()


def file_of(size_bytes: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(b"x" * size_bytes)

    return make


def put(cache: Cache, name: str, used_at: int, size_bytes: int = 100) -> None:
    with cache.entry("kind", name, file_of(size_bytes)) as entry:
        pass
    os.utime(entry.path, (used_at, used_at))


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "kind").iterdir())


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for used_at, name in enumerate("abcd"):
        put(cache, name, used_at)
    with cache.entry("kind", "a", file_of(0)) as used:
        assert used.path.stat().st_size == 100, "it was not made again"
    cache.shrink(250)
    assert names(tmp_path) == ["a", "d"]


def test_a_folder_counts_with_all_its_files_and_goes_whole(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        (path / "below").mkdir(parents=True)
        (path / "below" / "weights").write_bytes(b"x" * 100)

    cache = Cache(tmp_path)
    with cache.entry("kind", "folder", make) as entry:
        cache.shrink(99)
        assert (entry.path / "below" / "weights").exists(), "it is in use"
    cache.shrink(100)
    assert names(tmp_path) == ["folder"]
    cache.shrink(99)
    assert names(tmp_path) == []


def test_what_another_process_uses_stays_until_it_dies(
    tmp_path: Path, start: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    cache = Cache(tmp_path)
    put(cache, "theirs", 1)
    put(cache, "nobodys", 2)
    user = start("entry = cache.entry('kind', 'theirs', None); say('using'); sys.stdin.readline()")
    assert said(user) == "using"
    cache.shrink(0)
    assert names(tmp_path) == ["theirs"]
    end(user)
    cache.shrink(0)
    assert names(tmp_path) == []


def test_of_two_processes_one_makes_and_both_use(
    tmp_path: Path, start: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    script = "entry = cache.entry('kind', 'one', made(b'whole')); say(entry.path.read_text()); sys.stdin.readline()"
    first = start(script)
    assert said(first) == "making"
    second = start(script)
    Cache(tmp_path).shrink(0)
    assert names(tmp_path) == [".one"], "it is being made"
    go_on(first)
    assert (said(first), said(second)) == ("whole", "whole")
    end(first, second)
    assert names(tmp_path) == ["one"]


def test_the_second_takes_over_from_a_maker_that_is_killed(
    tmp_path: Path, start: Callable[[str], "subprocess.Popen[str]"]
) -> None:
    first = start("cache.entry('kind', 'one', lambda path: path.write_bytes(b'half') and made(b'')(path))")
    assert said(first) == "making"
    assert (tmp_path / "kind" / ".one" / "made").read_bytes() == b"half"
    second = start("say('asking'); entry = cache.entry('kind', 'one', made(b'whole')); say(entry.path.read_text())")
    assert said(second) == "asking"
    os.kill(first.pid, signal.SIGKILL)
    assert said(second) == "making"
    go_on(second)
    assert said(second) == "whole"
    end(first, second)
    assert names(tmp_path) == ["one"]


def test_what_the_dead_have_left_goes_at_once(tmp_path: Path, start: Callable[[str], "subprocess.Popen[str]"]) -> None:
    maker = start("cache.entry('kind', 'one', made(b''))")
    assert said(maker) == "making"
    end(maker)
    wait_until(lambda: maker.poll() is not None, 10, "it is dead")
    assert names(tmp_path) == [".one"]
    Cache(tmp_path).shrink(10**9)
    assert names(tmp_path) == []


def test_entries_are_whole_however_often_others_drop_them(tmp_path: Path) -> None:
    """Makers, users and droppers at once: whoever has an entry finds it whole, and where it was promised."""
    stop, sizes = threading.Event(), []

    def use() -> None:
        for number in range(300):
            with Cache(tmp_path).entry("kind", str(number % 3), file_of(100)) as entry:
                sizes.append(entry.path.stat().st_size)

    def drop() -> None:
        while not stop.is_set():
            Cache(tmp_path).shrink(0)

    users = [threading.Thread(target=use) for _ in range(3)]
    dropper = threading.Thread(target=drop)
    for thread in (*users, dropper):
        thread.start()
    for thread in users:
        thread.join()
    stop.set()
    dropper.join()
    assert sizes == [100] * 900
