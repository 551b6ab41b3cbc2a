"""multipart/form-data as a stream: one file to scratch as it comes, and a few short text fields. Knows no resource.

Starlette's own parser spools to the system's temporary folder, which is often memory, and does not count bytes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from app.contract.errors import ErrorCode, FieldError, InvalidRequest, ServiceError, TooSlow
from app.services.uploads import IncomingFile, Upload, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS = 16
#: What a form may hold beside its file.
MAX_FORM_BYTES = 1 << 20
WRITE_BYTES = 1 << 20
#: How long nothing may come, and how slowly all of it.
STALL_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND = 1_024


class UnsupportedMediaType(ServiceError):
    code = ErrorCode.UNSUPPORTED_MEDIA_TYPE
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


async def receive_form(request: Request, incoming: IncomingFile, max_bytes: int) -> tuple[Upload, dict[str, str]]:
    """The file `file`, now in scratch, and the other fields as text."""
    told_bytes = request.headers.get("content-length", "0")
    if told_bytes.isdecimal() and int(told_bytes) > max_bytes + MAX_FORM_BYTES:
        raise too_large(max_bytes)
    form = _Form()
    with _malformed_refused():
        parser = MultipartParser(_boundary(request), form.callbacks())
    pending = bytearray()
    async for chunk in _chunks(request):
        with _malformed_refused():
            parser.write(chunk)
        pending += form.take_file_data()
        if len(pending) >= WRITE_BYTES:
            await run_in_threadpool(incoming.write, bytes(pending))
            pending.clear()
    await run_in_threadpool(incoming.write, bytes(pending))
    return incoming.finished(form.checked_filename()), form.texts


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes; a client that stops sending, drips or leaves ends it."""
    stream, clock = request.stream(), asyncio.get_running_loop().time
    last_at, received_bytes = clock() + STALL_SECONDS, 0
    while True:
        until = min(clock() + STALL_SECONDS, last_at + received_bytes / SLOWEST_BYTES_PER_SECOND)
        try:
            async with asyncio.timeout_at(until):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TooSlow(
                f"Of the upload nothing came for {STALL_SECONDS:g} seconds, or less than "
                f"{SLOWEST_BYTES_PER_SECOND:,} bytes a second. Send it again."
            ) from None
        except ClientDisconnect:
            raise _malformed("the connection closed before its end") from None
        received_bytes += len(chunk)
        yield chunk


def _boundary(request: Request) -> bytes:
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise UnsupportedMediaType("Send the file as multipart/form-data, in the field 'file'.")
    if not options.get(b"boundary"):
        raise _malformed("the Content-Type names no boundary")
    return options[b"boundary"]


class _Form:
    """What the parser's callbacks build: one part after another."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self._filename: str | None = None
        self._file_data = bytearray()
        self._disposition = bytearray()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._field: str | None = None
        self._field_data = bytearray()
        self._ended = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._add_content,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def take_file_data(self) -> bytes:
        data = bytes(self._file_data)
        self._file_data.clear()
        return data

    def checked_filename(self) -> str:
        if not self._ended:
            raise _malformed("the body ends before its last boundary")
        if self._filename is None:
            raise _field_error("file", "The form has no file in the field 'file'.")
        return self._filename

    def _begin_part(self) -> None:
        self._disposition.clear()
        self._field = None

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition[:] = self._header_value
        self._header_name.clear()
        self._header_value.clear()

    def _begin_content(self) -> None:
        _, options = parse_options_header(bytes(self._disposition))
        name = _text("a field's name", options.get(b"name", b""))
        if b"filename" in options:
            self._begin_file(name, _text("the file's name", options[b"filename"]))
        elif name == "file":
            raise _field_error("file", "The field 'file' must be a file with a name, whose suffix tells its type.")
        elif name in self.texts:
            raise _field_error(name, "The field is given twice.")
        elif len(self.texts) == MAX_FIELDS:
            raise _malformed(f"there are more than {MAX_FIELDS} fields")
        else:
            self._field = name

    def _begin_file(self, name: str, filename: str) -> None:
        if name != "file" or self._filename is not None:
            raise _field_error(name, "One file is taken, in the field 'file'.")
        self._filename = filename

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._file_data += data[start:end]
        elif len(self._field_data) + end - start > MAX_FIELD_BYTES:
            raise _field_error(self._field, f"The field is longer than {MAX_FIELD_BYTES:,} bytes.")
        else:
            self._field_data += data[start:end]

    def _end_part(self) -> None:
        if self._field is not None:
            self.texts[self._field] = _text(self._field, bytes(self._field_data))
            self._field_data.clear()

    def _end(self) -> None:
        self._ended = True


@contextmanager
def _malformed_refused() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise _malformed(str(error)) from None


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is no valid multipart/form-data: {reason}.")


def _field_error(location: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(location=location, message=message)])


def _text(what: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _malformed(f"{what} is not UTF-8") from None
