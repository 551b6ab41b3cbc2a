"""Listening sockets of the service."""

import socket

import pytest

from app.embedded.errors import CannotStart
from app.embedded.sockets import free_port_near, listen, port_of, url_of


def test_a_taken_port_is_told_with_the_remedy() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(CannotStart, match=f"Port {port_of(first)}.*--port"):
        listen("127.0.0.1", port_of(first))


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(CannotStart, match=r"Cannot listen on 192\.0\.2\.1:0.*--host"):
        listen("192.0.2.1", 0)


def test_a_client_may_connect_before_anybody_accepts() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(("127.0.0.1", port_of(listener))) as client:
        client.sendall(b"early")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(5) == b"early"


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])  # noqa: S104
def test_the_address_is_one_that_a_browser_here_can_open(host: str, url: str) -> None:
    with listen(host, 0) as listener:
        assert url_of(listener) == f"http://{url}:{port_of(listener)}"


def test_the_preferred_port_is_kept_when_it_is_free() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = port_of(listener)
        assert free_port_near(port) == 0
    assert free_port_near(port) == port
