"""One HTTP/1.1 connection to a replica, one exchange at a time. Knows nothing of models or of which replica.

Written on httptools, uvicorn's own parser, because every prediction pays this hop; a general client costs several
times as much per request. What a replica answers is bounded by the replica, so there is no flow control.
"""

import asyncio
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpResponseParser


class ConnectionFailed(Exception):
    """The replica could not be reached, or went away before its answer was whole."""


class Head(NamedTuple):
    """Header names are in lower case."""

    status: int
    headers: dict[str, str]


class Connection(asyncio.Protocol):
    """`idle` while the next exchange may start on it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._failure: ConnectionFailed | None = None
        self._head: Head | None = None
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._complete = True
        self._keep_alive = True
        self.idle_since = 0.0

    @property
    def idle(self) -> bool:
        return self._complete and self._keep_alive and self._failure is None

    def send(self, request: bytes) -> None:
        """Start an exchange: the bytes of a whole request."""
        assert self._transport is not None
        self._head, self._headers, self._chunks, self._complete = None, {}, [], False
        self._transport.write(request)

    async def head(self) -> Head:
        """Wait for the status line and the headers. Raises ConnectionFailed; may be cancelled and called again."""
        while self._head is None:
            await self._progress()
        return self._head

    async def body(self) -> bytes:
        """Wait for the rest of the answer. Raises ConnectionFailed."""
        while not self._complete:
            await self._progress()
        return b"".join(self._chunks)

    async def answer(self) -> tuple[Head, bytes]:
        """The whole of it. Raises ConnectionFailed; may be cancelled and called again."""
        return await self.head(), await self.body()

    async def chunk(self) -> bytes:
        """What has arrived since, waiting for something; empty at the end of the answer. Raises ConnectionFailed."""
        while not self._chunks and not self._complete:
            await self._progress()
        arrived, self._chunks = b"".join(self._chunks), []
        return arrived

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _progress(self) -> None:
        """Wait until something arrives. Raises ConnectionFailed where nothing more can."""
        if self._failure is not None:
            raise self._failure
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None and not self._complete:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._failure = ConnectionFailed(f"the replica does not speak HTTP: {error}")
            self.close()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._failure = self._failure or ConnectionFailed(f"the connection broke: {error or 'closed by the replica'}")
        self._wake()

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        self._head = Head(self._parser.get_status_code(), self._headers)

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        self._complete = True
