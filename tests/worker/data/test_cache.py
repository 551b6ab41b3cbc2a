"""Files that are made once."""

import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from worker.data.cache import cached_file


def test_a_file_is_written_once(tmp_path: Path) -> None:
    calls = []

    def write(file: BinaryIO) -> None:
        calls.append(1)
        file.write(b"content")

    for _ in range(2):
        assert cached_file(tmp_path / "folder" / "file", write).read_bytes() == b"content"
    assert calls == [1]


def test_the_second_of_two_waits_and_repeats_nothing(tmp_path: Path) -> None:
    started, go_on, calls = threading.Event(), threading.Event(), []

    def slow(file: BinaryIO) -> None:
        calls.append("slow")
        started.set()
        assert go_on.wait(10)
        file.write(b"whole")

    def other(file: BinaryIO) -> None:
        calls.append("other")

    first = threading.Thread(target=cached_file, args=(tmp_path / "file", slow))
    first.start()
    assert started.wait(10)
    assert not (tmp_path / "file").exists()
    found: list[bytes] = []
    second = threading.Thread(target=lambda: found.append(cached_file(tmp_path / "file", other).read_bytes()))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)

    assert found == [b"whole"]
    assert calls == ["slow"]


def test_what_fails_half_way_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    def broken(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        cached_file(tmp_path / "file", broken)

    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "file.tmp").exists()
    assert cached_file(tmp_path / "file", lambda file: None).read_bytes() == b""  # noqa: ARG005  nothing to write


def test_the_leavings_of_a_killed_writer_are_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file.tmp").write_bytes(b"longer than what is right")

    def write(file: BinaryIO) -> None:
        file.write(b"right")

    assert cached_file(tmp_path / "file", write).read_bytes() == b"right"
