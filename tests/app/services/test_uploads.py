"""Uploads on their way in leave nothing behind, not even after a crash."""

import hashlib
import resource
from pathlib import Path

import pytest

from app.contract.errors import PayloadTooLarge, Unavailable
from app.services.uploads import IncomingFile, base_name, sweep


def test_an_upload_is_counted_and_digested_as_it_comes(tmp_path: Path) -> None:
    with IncomingFile(tmp_path, 100) as incoming:
        incoming.write(b"ab")
        incoming.write(b"c")
        upload = incoming.finished("x.txt")
        assert upload.path.read_bytes() == b"abc"
        assert (upload.size_bytes, upload.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_one_byte_too_many_ends_it(tmp_path: Path) -> None:
    with IncomingFile(tmp_path, 3) as incoming:
        incoming.write(b"abc")
        with pytest.raises(PayloadTooLarge, match="3 bytes"):
            incoming.write(b"d")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_as_unavailable(tmp_path: Path) -> None:
    with IncomingFile(tmp_path, 1 << 24) as incoming:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(Unavailable, match="cannot be kept"):
                incoming.write(b"x" * (1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\reviews.csv", "reviews.csv"),
        ("a\0b\n.csv", "ab.csv"),
        ("/", ""),
        ("x" * 300 + ".csv", "x" * 200 + ".csv"),
    ],
)
def test_only_the_base_name_of_a_file_is_kept(given: str, kept: str) -> None:
    assert base_name(given) == kept


def test_a_sweep_takes_what_a_crash_left_and_no_work_in_progress(tmp_path: Path) -> None:
    (tmp_path / "left.upload").write_bytes(b"12345")
    with IncomingFile(tmp_path, 100) as incoming:
        incoming.write(b"abc")
        assert sweep(tmp_path) == 5
        busy = incoming.finished("x.txt").path
        assert list(tmp_path.iterdir()) == [busy]
    assert sweep(tmp_path / "never-made") == 0
