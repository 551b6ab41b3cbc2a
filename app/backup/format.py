"""What a backup's own files hold, and whether they hold it still. `backup.json` and its digest are written last."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import ValidationError

from app.contract.base import Contract
from app.storage import CHUNK_BYTES

MANIFEST_NAME = "backup.json"
#: As `sha256sum --check` reads it.
DIGEST_NAME = "backup.json.sha256"
FILES_NAME = "files.jsonl"
TABLES_FOLDER = "tables"
STORE_FOLDER = "store"


class BackupError(Exception):
    """The message names what is in the way, and the remedy."""


class File(Contract):
    """`path` within the backup or, in `files.jsonl`, the key in the store."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(Contract):
    """`revision` is the database's schema. `damaged` are keys whose stored files were gone, or not as written."""

    format: Literal[1] = 1
    version: str
    revision: str
    created_at: datetime
    parts: tuple[File, ...]
    damaged: tuple[str, ...]


def write_part(folder: Path, path: str, lines: Iterable[bytes]) -> File:
    """A file of lines, on the disk when this returns."""
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as file:
        for line in lines:
            digest.update(line)
            size += file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return File(path=path, size_bytes=size, sha256=digest.hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    written = write_part(folder, MANIFEST_NAME, [manifest.model_dump_json(indent=2).encode() + b"\n"])
    write_part(folder, DIGEST_NAME, [_digest_line(written.sha256)])


def read_manifest(folder: Path) -> Manifest:
    """Raises BackupError."""
    path = folder / MANIFEST_NAME
    try:
        content, digest = path.read_bytes(), (folder / DIGEST_NAME).read_bytes()
    except FileNotFoundError as error:
        raise BackupError(f"{folder} is no backup: it has no {Path(error.filename).name}.") from None
    if digest != _digest_line(hashlib.sha256(content).hexdigest()):
        raise BackupError(f"The backup is damaged: {path} is not as it was written.")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise BackupError(
            f"{path} is of another version of Pretune: {error.errors()[0]['msg']}. Use the newer version."
        ) from None


def _digest_line(sha256: str) -> bytes:
    return f"{sha256}  {MANIFEST_NAME}\n".encode()


def stored_files(folder: Path) -> Iterator[File]:
    """What `files.jsonl` lists."""
    with (folder / FILES_NAME).open("rb") as lines:
        yield from map(File.model_validate_json, lines)


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every byte of the backup. Raises BackupError, naming the first file that is not as it was written."""
    for part in manifest.parts:
        _verify_file(folder, part)
    for file in stored_files(folder):
        _verify_file(folder, file.model_copy(update={"path": f"{STORE_FOLDER}/{file.path}"}))


def _verify_file(folder: Path, expected: File) -> None:
    try:
        with (folder / expected.path).open("rb") as file:
            found = _measured(file, expected.path)
    except OSError as error:
        raise BackupError(f"The backup is damaged: {folder / expected.path}: {error.strerror}.") from None
    if found != expected:
        raise BackupError(
            f"The backup is damaged: {folder / expected.path} has {found.size_bytes:,} bytes of SHA-256 "
            f"{found.sha256[:12]}..., and was written with {expected.size_bytes:,} of {expected.sha256[:12]}..."
        )


def _measured(file: BinaryIO, path: str) -> File:
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
    return File(path=path, size_bytes=size, sha256=digest.hexdigest())
