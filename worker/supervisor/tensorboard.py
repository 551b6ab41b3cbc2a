"""A job's curves as TensorBoard reads them: an event file, made anew from the whole series.

A record is a length, the bytes, and a masked CRC-32C of each (TensorFlow's TFRecord); the bytes are a protobuf `Event`.
Scalars need six of its fields, which are written here: the libraries that write event files import torch, and a
supervisor never does.
"""

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
from sqlalchemy.orm import Session

from app.db import metrics
from app.db.tables import JobRow

MEDIA_TYPE = "application/x-tensorboard-events"
#: Of a series, at most; a longer one keeps the extremes of each stretch.
MAX_POINTS = 10_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def write_event_file(session: Session, job: JobRow, folder: Path) -> list[tuple[Path, str]]:
    """-> the file with its media type; none for a job that measured nothing.

    All events bear the time at which the job began, since the time of a metric is not kept.
    """
    series = metrics.series(session, job.id, (), MAX_POINTS)
    if not series:
        return []
    began = job.started_at.timestamp() if job.started_at else 0.0
    path = folder / f"events.out.tfevents.{job.id}"
    with path.open("wb") as file:
        file.write(_record(_time(began) + _field(3, b"brain.Event:2")))
        for name, points in series.items():
            for step, value in points:
                file.write(_record(_time(began) + _number(2, step) + _field(5, _scalar(name, value))))
    return [(path, MEDIA_TYPE)]


def _scalar(name: str, value: float) -> bytes:
    """A `Summary` of one value; beyond what 32 bits hold it is infinite."""
    single = _tag(2, _FIXED32) + array("f", [value]).tobytes()
    return _field(1, _field(1, name.encode()) + single)


def _time(seconds: float) -> bytes:
    return _tag(1, _FIXED64) + struct.pack("<d", seconds)


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + bytes(_varint(value))


def _field(field: int, content: bytes) -> bytes:
    return _tag(field, _BYTES) + bytes(_varint(len(content))) + content


def _tag(field: int, wire_type: int) -> bytes:
    return bytes([field << 3 | wire_type])


def _varint(value: int) -> Iterator[int]:
    """Seven bits a byte, the lowest first."""
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _checksum(length) + content + _checksum(content)


def _checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
