"""Files that are made once, and stay while they are read or mapped."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from worker.cache import Cache
from worker.data.cache import cached_file


def write(file: BinaryIO) -> None:
    file.write(b"content")


def test_a_file_is_written_once(tmp_path: Path) -> None:
    calls = []

    def count(file: BinaryIO) -> None:
        calls.append(1)
        write(file)

    for _ in range(2):
        with cached_file(tmp_path, "kind", "name", count) as file:
            assert file.read() == b"content"
    assert calls == [1]


def test_what_fails_half_way_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    def broken(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        cached_file(tmp_path, "kind", "name", broken)
    assert list((tmp_path / "kind").iterdir()) == []
    with cached_file(tmp_path, "kind", "name", write) as file:
        assert file.read() == b"content"


def test_a_map_keeps_its_file_in_the_cache(tmp_path: Path) -> None:
    with cached_file(tmp_path, "kind", "name", write) as file:
        mapped = np.memmap(file, np.uint8, "r")
    Cache(tmp_path).shrink(0)
    assert (tmp_path / "kind" / "name").exists()
    assert bytes(mapped) == b"content"
    del mapped
    Cache(tmp_path).shrink(0)
    assert not (tmp_path / "kind" / "name").exists()
