"""Keeps connections to replicas open between requests. Knows nothing of what is asked."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.inference_client.connection import Connection, ConnectionFailed

CONNECT_SECONDS = 2.0
#: uvicorn closes a connection that has been idle for 5 s; we let go of it first.
IDLE_SECONDS = 4.0
MAX_IDLE_CONNECTIONS = 64


class Pool:
    """Connections by address (`host:port`), for one event loop at a time: those of a loop that ended are forgotten."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: defaultdict[str, list[Connection]] = defaultdict(list)

    @asynccontextmanager
    async def connection(self, address: str) -> AsyncIterator[Connection]:
        """A connection for one exchange; closed where that did not end in order. Raises ConnectionFailed."""
        connection = self._take(address) or await _connect(address)
        try:
            yield connection
        finally:
            self._give_back(address, connection)

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _take(self, address: str) -> Connection | None:
        """The one used last, so that those not needed grow old."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._idle.clear()
        idle = self._idle[address]
        while idle:
            connection = idle.pop()
            if connection.idle and loop.time() - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _give_back(self, address: str, connection: Connection) -> None:
        if connection.idle and len(self._idle[address]) < MAX_IDLE_CONNECTIONS:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle[address].append(connection)
        else:
            connection.close()


async def _connect(address: str) -> Connection:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, host.strip("[]"), int(port))
    except TimeoutError:
        raise ConnectionFailed(f"{address} did not answer within {CONNECT_SECONDS} s") from None
    except OSError as error:
        raise ConnectionFailed(f"{address} cannot be reached: {error}") from error
    return connection
