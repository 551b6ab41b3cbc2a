"""The store as a bucket of S3, or of any store that speaks as it does. An object is there when it is whole.

Credentials, region and endpoint come from the usual AWS_* variables. Large files go up in parts; each part, and each
piece that is read, is tried again by itself. Of an upload that breaks off, the parts are deleted; what a killed process
leaves is for a lifecycle rule of the bucket (docs/object-store.md).
"""

import errno
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from app.storage.files import CHUNK_BYTES, copy, replacing
from app.storage.store import StoredFile, StoredKey, unheeding

#: Of an upload in parts, of which S3 takes 10,000; and of one request that reads.
PART_BYTES = 16 << 20
MAX_PARTS = 9_000
PIECE_BYTES = 8 << 20
PARTS_AT_ONCE = 4
CONNECT_SECONDS = 5
#: One request, a part's whole transfer too.
REQUEST_SECONDS = 60
#: Who looks or deletes may hold a transaction meanwhile: it must end before the database ends that one.
QUICK_SECONDS = 5
#: Patience ends it, and not their number.
MAX_RETRIES = 1_000
MAX_PAUSE_SECONDS = 5
#: In the text of an error that came before anything was sent.
UNSENT = "connection was not ready"
UNSENT_PAUSE_SECONDS = 0.1
LIST_PAGE = 1_000
DEFAULT_REGION = "us-east-1"
#: Where credentials are looked for when none are given: that of virtual machines of AWS.
MACHINE_CREDENTIALS = "169.254.169.254"
T = TypeVar("T")


class ObjectStore:
    def __init__(self, url: str, patience_seconds: float) -> None:
        """`url`: s3://bucket/prefix. Transfers are tried again for `patience_seconds`."""
        self._patience_seconds = patience_seconds
        self._bucket = _bucket(url, patience_seconds, REQUEST_SECONDS)
        self._quick = _bucket(url, QUICK_SECONDS, QUICK_SECONDS)

    def put(self, key: str, source: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        with _failures_told(key):
            return again_where_unsent(lambda: self._put(key, _Sent(source, heed)), self._patience_seconds)

    def fetch(self, key: str, destination: Path, heed: Callable[[], None] = unheeding) -> StoredFile:
        with self.open(key) as reader, replacing(destination) as writer:
            return copy(reader, writer, heed)

    def open(self, key: str) -> BinaryIO:
        patience_seconds = self._patience_seconds
        with _failures_told(key):
            size = again_where_unsent(lambda: obstore.head(self._bucket, key)["size"], patience_seconds)
        return cast("BinaryIO", io.BufferedReader(_Pieces(self._bucket, key, size, patience_seconds), PIECE_BYTES))

    def exists(self, key: str) -> bool:
        try:
            with _failures_told(key):
                obstore.head(self._quick, key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredKey]:
        for page in self._pages(prefix):
            yield from page

    def delete_prefix(self, prefix: str) -> int:
        freed = 0
        for page in self._pages(prefix):
            with _failures_told(prefix):
                obstore.delete(self._quick, [file.key for file in page])
            freed += sum(file.size_bytes for file in page)
        return freed

    def check(self) -> None:
        probe = f".probe-{uuid4().hex}"
        with _failures_told(probe):
            obstore.put(self._quick, probe, b"", use_multipart=False)
            obstore.delete(self._quick, probe)

    def _put(self, key: str, sent: "_Sent") -> StoredFile:
        if sent.size_bytes <= PART_BYTES:
            obstore.put(self._bucket, key, b"".join(sent), use_multipart=False)
        else:
            part_bytes = max(PART_BYTES, sent.size_bytes // MAX_PARTS)
            obstore.put(self._bucket, key, iter(sent), chunk_size=part_bytes, max_concurrency=PARTS_AT_ONCE)
        return sent.stored

    def _pages(self, prefix: str) -> Iterator[Sequence[StoredKey]]:
        """The object of that very key, and what is below it; S3 lists in the order of keys."""
        with _failures_told(prefix):
            if prefix and self.exists(prefix):
                yield [_stored_key(obstore.head(self._quick, prefix))]
            for page in obstore.list(self._quick, prefix or None, chunk_size=LIST_PAGE):
                yield [_stored_key(found) for found in page]


def make_bucket(url: str) -> None:
    """Of a store for trials; S3 itself wants more to be said. Nothing changes where it is there and ours. Raises
    OSError."""
    import httpx2  # noqa: PLC0415  for this alone

    parts = urlsplit(url)
    store = ObjectStore(url, QUICK_SECONDS)
    try:
        store.check()
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
    else:
        return
    whole = _bucket(f"s3://{parts.netloc}", QUICK_SECONDS, QUICK_SECONDS)
    address = obstore.sign(whole, "PUT", "", timedelta(seconds=REQUEST_SECONDS))
    try:
        httpx2.put(address, timeout=QUICK_SECONDS).raise_for_status()
    except httpx2.HTTPStatusError as error:
        reason = f"{error.response.status_code} {error.response.reason_phrase}"
        raise OSError(errno.EIO, f"the object store does not make the bucket ({reason})") from error
    except httpx2.HTTPError as error:
        raise OSError(errno.EIO, "the object store does not answer") from error
    store.check()


class _Sent:
    """A file on its way: read once, counted and digested as it goes."""

    def __init__(self, source: Path, heed: Callable[[], None]) -> None:
        self._source = source
        self._heed = heed
        self._digest = hashlib.sha256()
        self._sent_bytes = 0
        self.size_bytes = source.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        with self._source.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._heed()
                self._digest.update(chunk)
                self._sent_bytes += len(chunk)
                yield chunk

    @property
    def stored(self) -> StoredFile:
        return StoredFile(self._sent_bytes, self._digest.hexdigest())


class _Pieces(io.RawIOBase):
    """An object, read a piece at a time, so that a connection which breaks costs a piece and not the whole."""

    def __init__(self, bucket: S3Store, key: str, size_bytes: int, patience_seconds: float) -> None:
        self._bucket = bucket
        self._key = key
        self._size_bytes = size_bytes
        self._patience_seconds = patience_seconds
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, begin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size_bytes - self._at)
        if length <= 0:
            return 0
        with _failures_told(self._key):
            found = again_where_unsent(
                lambda: obstore.get_range(self._bucket, self._key, start=self._at, length=length),
                self._patience_seconds,
            )
        piece = memoryview(found)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _bucket(url: str, patience_seconds: float, request_seconds: float) -> S3Store:
    parts = urlsplit(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        region=region,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, request_seconds)),
            "timeout": timedelta(seconds=request_seconds),
        },
        retry_config={
            "retry_timeout": timedelta(seconds=patience_seconds),
            "max_retries": MAX_RETRIES,
            "backoff": {"max_backoff": timedelta(seconds=MAX_PAUSE_SECONDS)},
        },
    )


def again_where_unsent(ask: Callable[[], T], patience_seconds: float) -> T:
    """The library tries again whatever breaks but this: the store closed a new connection before it was used."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return ask()
        except BaseError as error:
            if UNSENT not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(UNSENT_PAUSE_SECONDS)


def _stored_key(found: Any) -> StoredKey:
    return StoredKey(found["path"], found["size"], found["last_modified"])


@contextmanager
def _failures_told(key: str) -> Iterator[None]:
    """The library's errors as those that `ArtifactStore` promises."""
    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(key) from error
        raise FileNotFoundError(errno.ENOENT, "the object store has no such file", key) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _refused(f"the object store refuses the request ({_reason(error)})", key) from error
    except BaseError as error:
        if "NoSuchBucket" in str(error):
            raise _no_bucket(key) from error
        if MACHINE_CREDENTIALS in str(error):
            raise _refused("there are no credentials for the object store", key) from error
        raise OSError(errno.EIO, f"the object store does not answer as it should ({_reason(error)})", key) from error


def _no_bucket(key: str) -> OSError:
    return OSError(errno.ENXIO, "the object store has no bucket of the name that PRETUNE_STORE tells: make it", key)


def _refused(what: str, key: str) -> PermissionError:
    remedy = "see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do in the bucket"
    return PermissionError(errno.EACCES, f"{what}: {remedy}", key)


def _reason(error: BaseError) -> str:
    """The end of the first line: `403 Forbidden`, `HTTP error: error sending request`. Addresses stand before it."""
    first_line = str(error).partition("\n")[0]
    return first_line.rpartition(" - ")[2].partition(": <")[0].removeprefix("Server returned non-2xx status code: ")
