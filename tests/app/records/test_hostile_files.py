"""Files made to do harm: none allocates, unpacks or runs what it asks for."""

import io
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.records import archive
from tests.app.records.files import picture, refused, zipped

PNG = picture(np.zeros((2, 2), np.uint8))


def _npy(header: str, body: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(1000000, 1000000)", "(-1, 4)", "(4,)", "()", "(2, 10**9)"])
def test_a_header_that_asks_for_more_than_is_there_is_refused_before_allocation(tmp_path: Path, shape: str) -> None:
    lying = _npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}")
    assert set(refused(tmp_path, "a.npz", zipped({"features.npy": lying}))) == {"features"}


class _Canary:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    buffer = io.BytesIO()
    np.savez(buffer, features=np.array([[_Canary(canary)]], dtype=object))
    assert "never unpickled" in refused(tmp_path, "a.npz", buffer.getvalue())["features"]
    assert not canary.exists()


def test_an_npz_with_a_raw_pickle_inside_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path, "a.npz", zipped({"features.npy": b"\x80\x04N."}))["features"]
    assert "holds .npy arrays only" in next(iter(refused(tmp_path, "a.npz", zipped({"x.pkl": b"."})).values()))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../evil.png", "leaves the archive"),
        ("a/../../evil.png", "leaves the archive"),
        ("..\\evil.png", "leaves the archive"),
        ("/etc/evil.png", "absolute"),
        ("C:\\evil.png", "absolute"),
    ],
)
def test_an_entry_that_would_leave_the_archive_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (message,) = refused(tmp_path, "a.zip", zipped({"a/ok.png": PNG, name: PNG})).values()
    assert reason in message


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    data = zipped({"a/ok.png": PNG, "b/evilX.png": PNG}).replace(b"evilX.png", b"evil\0.png")
    (message,) = refused(tmp_path, "a.zip", data).values()
    assert "NUL" in message


def test_a_link_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    assert refused(tmp_path, "a.zip", buffer.getvalue()) == {"'a/link.png'": "The entry is not taken: it is a link."}


def test_a_zip_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    bomb = zipped({"a/bomb.png": bytes(64 << 20)})
    assert len(bomb) < 1 << 20
    assert "times its size" in refused(tmp_path, "a.zip", bomb)["file"]
    assert "times its size" in refused(tmp_path, "a.npz", zipped({"features.npy": bytes(64 << 20)}))["file"]


def test_an_archive_of_too_many_entries_or_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({f"{n % 2}/{n}.png": PNG for n in range(4)})
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 100)
    assert "unpacks to" in refused(tmp_path, "a.zip", data)["file"]
    monkeypatch.setattr(archive, "MAX_ARCHIVE_ENTRIES", 3)
    assert "4 entries; at most 3" in refused(tmp_path, "a.zip", data)["file"]


def test_a_size_that_lies_gives_no_more_bytes_than_it_says(tmp_path: Path) -> None:
    data = bytearray(zipped({"a/bomb.png": bytes(8 << 20)}))
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 10)
    assert refused(tmp_path, "a.zip", bytes(data), kind="images")


def test_a_method_of_packing_that_is_not_deflate_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a/1.png", PNG)
    (message,) = refused(tmp_path, "a.zip", buffer.getvalue()).values()
    assert "method other than deflate" in message


def test_a_picture_of_too_many_pixels_is_refused_before_decoding(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(buffer, "PNG")
    assert buffer.tell() < 100_000
    (message,) = refused(tmp_path, "a.zip", zipped({"bomb.png": buffer.getvalue()})).values()
    assert "pixels" in message


def test_other_picture_formats_are_refused_whatever_their_suffix(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "TIFF")
    (message,) = refused(tmp_path, "a.zip", zipped({"a.png": buffer.getvalue()})).values()
    assert "no readable PNG or JPEG" in message
