"""Listening sockets that children inherit: the port is ours before anything starts, and stays ours while one restarts.

Requests that come while a child restarts wait in the socket's backlog and are answered by its successor.
"""

import errno
import socket
from contextlib import ExitStack

from app.embedded.errors import CannotStart

BACKLOG = 2_048


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes any that is free. Raises CannotStart where the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # uvicorn takes an inherited socket for a local one and leaves Nagle's delay on: 44 ms an answer, measured.
            # Connections inherit the option from their listener.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            stack.pop_all()
            return listener
    except (OSError, OverflowError) as error:
        raise CannotStart(_explanation(host, port, error)) from None


def free_port_near(preferred: int) -> int:
    """The preferred port of loopback if nobody has it, else 0, which lets the service choose."""
    try:
        listen("127.0.0.1", preferred).close()
    except CannotStart:
        return 0
    return preferred


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds it; a wildcard address is reached through loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.getsockname()[0], listener.getsockname()[0])  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port_of(listener)}"


def _explanation(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program. Choose another with --port (the replica's with "
            "PRETUNE_INFERENCE_PORT), or 0 for any free one."
        )
    return f"Cannot listen on {host}:{port}: {error}. Choose another address with --host and --port."
