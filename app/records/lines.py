"""Physical lines of a UTF-8 file, each bounded, in constant memory. Line numbers and byte offsets are for messages."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from app.records.limits import MAX_RECORD_BYTES, MIB
from app.records.problems import BadValue

DISCARD_BYTES = 1 << 16
PIECE_BYTES = MIB


class Lines:
    """An iterator of decoded lines, their ends kept. After a BadValue it goes on with the next line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offset = 0
        self.number = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_RECORD_BYTES + 1)
        if not line:
            raise StopIteration
        start, self._offset = self._offset, self._offset + len(line)
        self.number += 1
        if len(line) > MAX_RECORD_BYTES:
            self._discard_rest(line)
            raise BadValue(f"The line is longer than {MAX_RECORD_BYTES // MIB} MiB.")
        return self._decoded(line, start)

    def _decoded(self, line: bytes, start: int) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise BadValue(_not_utf8(line[error.start], error.start, start + error.start)) from None
        return text.removeprefix("\ufeff") if start == 0 else text

    def _discard_rest(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(DISCARD_BYTES)
            self._offset += len(line)


def pieces(file: BinaryIO) -> Iterator[str]:
    """The whole file as text, in pieces of at most 1 MiB that concatenate to it (without a byte order mark).

    Raises BadValue where the bytes are no UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset, line_number = 0, 1
    while True:
        data = file.read(PIECE_BYTES - 4)  # the decoder may hold back up to 3 bytes of the piece before
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line_number += error.object[: error.start].count(b"\n")
            at = offset - len(pending) + error.start
            raise BadValue(f"line {line_number}: {_not_utf8(error.object[error.start], None, at)}") from None
        if text:
            yield text
        if not data:
            return
        offset += len(data)
        line_number += data.count(b"\n")


def _not_utf8(value: int, in_line: int | None, in_file: int) -> str:
    where = f"byte {in_file} of the file" if in_line is None else f"byte {in_line} of the line, {in_file} of the file"
    return f"The text is not UTF-8: 0x{value:02x} at {where}. Save the file as UTF-8."
