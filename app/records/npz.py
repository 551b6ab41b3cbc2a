"""NumPy's .npz, never unpickled. Each header is checked against the file before a byte is allocated for it.

Arrays are read a block of rows at a time; one in Fortran order has no rows to stream and is read whole.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from app.records.archive import damage_refused, open_archive
from app.records.problems import refusal, shown
from app.records.source import Source

_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True, slots=True)
class StoredArray:
    """One array of an archive: its header, checked, and the way to its rows."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    archive: zipfile.ZipFile
    entry: zipfile.ZipInfo
    header_bytes: int

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Up to `rows` rows at a time: arrays [n, *shape[1:]]."""
        with damage_refused(self.name), self.archive.open(self.entry) as stream:
            stream.read(self.header_bytes)
            if self.fortran_order and len(self.shape) > 1:
                yield from self._whole(stream, rows)
                return
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                yield self._filled(stream, count * self.row_bytes).reshape(count, *self.shape[1:])

    def _whole(self, stream: IO[bytes], rows: int) -> Iterator[NDArray[Any]]:
        array = self._filled(stream, self.shape[0] * self.row_bytes).reshape(self.shape, order="F")
        for start in range(0, self.shape[0], rows):
            yield array[start : start + rows]

    def _filled(self, stream: IO[bytes], size_bytes: int) -> NDArray[Any]:
        data = stream.read(size_bytes)
        if len(data) < size_bytes:
            raise refusal(self.name, "The array ends early: the file is damaged.")
        return np.frombuffer(data, self.dtype)


def open_npz(source: Source) -> Mapping[str, StoredArray]:
    """The arrays of a file by name. Raises InvalidDataset."""
    archive, entries = open_archive(source)
    if not entries:
        raise refusal("file", "The file holds no arrays.")
    arrays = [_stored_array(archive, entry) for entry in entries]
    return {array.name: array for array in arrays}


def _stored_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> StoredArray:
    name = entry.filename.removesuffix(".npy")
    if name == entry.filename:
        raise refusal(shown(name), "An .npz holds .npy arrays only; write it with numpy.savez.")
    with damage_refused(name), archive.open(entry) as stream:
        shape, fortran_order, dtype = _header(name, stream)
        header_bytes = stream.tell()
    if dtype.hasobject:
        raise refusal(name, "The array holds Python objects, which are never unpickled; save strings or numbers.")
    size_bytes = math.prod(shape) * dtype.itemsize
    if not shape or min(shape) < 0 or size_bytes != entry.file_size - header_bytes:
        raise refusal(
            name,
            f"The header asks for an array of shape {shape} and type {dtype}, {size_bytes:,} bytes; "
            f"{entry.file_size - header_bytes:,} are there.",
        )
    return StoredArray(name, shape, dtype, fortran_order, archive, entry, header_bytes)


def _header(name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy.read_magic(stream)
        shape, fortran_order, dtype = _HEADER_READERS[version](stream)
    except KeyError:
        raise refusal(name, f"Version {shown(version)} of the .npy format is not taken; 1.0 and 2.0 are.") from None
    except ValueError as error:
        raise refusal(name, f"The array's header cannot be read: {str(error)[:200]}.") from None
    return shape, fortran_order, dtype
