"""The little of HTTP that a replica speaks, straight on ASGI. Knows nothing of models.

Written by hand because the hop is paid by every request: no routing table, no middleware, no response objects.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import to_json

from app.contract.errors import PayloadTooLarge, ServiceError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_TYPE = b"application/json"
EVENT_STREAM_TYPE = b"text/event-stream"
BINARY_TYPE = b"application/octet-stream"


class ClientGone(Exception):
    """The caller closed the connection before its request was whole."""


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise PayloadTooLarge(f"The request is larger than {limit_bytes:,} bytes.")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def until_disconnected(receive: Receive, work: Awaitable[None]) -> None:
    """Do the work, or cancel it as soon as the client goes away."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_bytes(
    send: Send,
    body: bytes,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    content_type: bytes = JSON_TYPE,
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", content_type), length, *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_stream(send: Send, chunks: AsyncIterator[bytes], content_type: bytes = EVENT_STREAM_TYPE) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_error(send: Send, error: ServiceError) -> None:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if error.retry_after_seconds is not None:
        headers = ((b"retry-after", str(error.retry_after_seconds).encode()),)
    await send_bytes(send, error_body(error), error.status, headers)


def error_body(error: ServiceError) -> bytes:
    return to_json(_error_fields(error))


def server_sent(data: Any) -> bytes:
    """One server-sent event; JSON holds no bare line feed."""
    return b"data: " + to_json(data) + b"\n\n"


def server_sent_error(error: ServiceError) -> bytes:
    return b"event: error\n" + server_sent({"error": _error_fields(error)})


def _error_fields(error: ServiceError) -> dict[str, Any]:
    return {"code": error.code, "message": error.detail, "errors": error.errors}
