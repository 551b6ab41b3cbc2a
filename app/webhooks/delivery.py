"""One notice on its way: signed (Standard Webhooks 1.0), sent once, judged by the status of the answer alone."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

import httpcore2
from standardwebhooks import Webhook as Signer

from app.db.outbox import Notice
from app.webhooks.network import AddressRefused

#: For everything: the name, the connection, the answer's first line.
SECONDS = 10.0


class Undelivered(Exception):
    """The message is for the webhook's owner. `gone`: the receiver wants no more of it."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.gone = status == HTTPStatus.GONE


async def deliver(pool: httpcore2.AsyncConnectionPool, notice: Notice, at: datetime) -> int:
    """-> the status of the answer, whose body nobody reads. Raises Undelivered."""
    body = json.dumps(notice.payload, separators=(",", ":"))
    signature = Signer(notice.secret).sign(notice.id, at, body)
    headers: Mapping[bytes | str, bytes | str] = {
        "Content-Type": "application/json",
        "User-Agent": "Pretune",
        "webhook-id": notice.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
    try:
        status = await asyncio.wait_for(_sent(pool, notice.url, headers, body.encode()), SECONDS)
    except (TimeoutError, httpcore2.TimeoutException):
        raise Undelivered(f"It did not answer within {SECONDS:g} seconds.") from None
    except AddressRefused as error:
        raise Undelivered(str(error)) from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, UnicodeError) as error:
        # OSError: TLS and names too; UnicodeError: a name that no resolver can be asked for
        raise Undelivered(f"It could not be reached: {str(error) or type(error).__name__}.") from None
    if not HTTPStatus(200) <= status < HTTPStatus(300):
        raise Undelivered(f"It answered with the status {status}.", status=status)
    return status


async def _sent(
    pool: httpcore2.AsyncConnectionPool, url: str, headers: Mapping[bytes | str, bytes | str], body: bytes
) -> int:
    async with pool.stream("POST", url, headers=headers, content=body) as answer:
        status: int = answer.status
        return status
