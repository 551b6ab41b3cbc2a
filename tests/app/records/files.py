"""Files of every type, made in memory, and what reading them says."""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.records import DatasetReport, InvalidDataset, inspect


def jsonl(*records: Any) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def csv_of(header: list[str], *rows: list[Any]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue().encode()


def parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def picture(pixels: NDArray[np.uint8], form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "blob"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def inspected(folder: Path, filename: str, data: bytes | str, **options: Any) -> DatasetReport:
    return inspect(write(folder, data), filename, **options)


def refused(folder: Path, filename: str, data: bytes | str, **options: Any) -> dict[str, str]:
    """The messages of a file that is refused, by location."""
    with pytest.raises(InvalidDataset) as caught:
        inspect(write(folder, data), filename, **options)
    return {error.location: error.message for error in caught.value.errors}
