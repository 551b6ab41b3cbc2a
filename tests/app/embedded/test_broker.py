"""The embedded broker: a real Valkey server behind a private socket file."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded import broker
from app.embedded.errors import CannotStart
from app.settings import MAX_SOCKET_PATH_BYTES, Settings
from tests.support.waiting import wait_until


@contextmanager
def running(path: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    broker.prepare(path, folder)
    command = broker.command(broker.find_binary(), path, folder)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"}) as server:
        try:
            wait_until(lambda: broker.answers(path), 60, "the broker answers")
            yield server
        finally:
            server.kill()


def ask(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(request + b"\r\n")
        return connection.recv(4096)


def test_only_its_owner_can_open_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "broker" / "valkey.sock"
    with running(path, path.parent):
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0


def test_nothing_listens_on_tcp(tmp_path: Path) -> None:
    path = tmp_path / "broker" / "valkey.sock"
    with running(path, path.parent):
        assert ask(path, b"CONFIG GET port").split() == [b"*2", b"$4", b"port", b"$1", b"0"]


def test_messages_outlive_a_killed_broker_and_its_socket_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "broker" / "valkey.sock"
    with running(path, path.parent) as server:
        ask(path, b"LPUSH queue message")
        ask(path, b"WAITAOF 1 0 5000")
        server.kill()
        server.wait()
        assert path.exists()
    with running(path, path.parent):
        assert ask(path, b"LLEN queue") == b":1\r\n"


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(CannotStart, match="chmod 700"):
        broker.prepare(folder / "valkey.sock", folder)


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder = tmp_path / "broker"
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotStart, match="only you can enter"):
        broker.prepare(folder / "valkey.sock", folder)


def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one_of_its_own(tmp_path: Path) -> None:
    deep = [tmp_path / ("a" * 120), tmp_path / ("b" * 120)]
    sockets = [Settings(data_dir=path).broker_socket for path in deep]
    assert all(len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES for path in sockets)
    assert sockets[0] != sockets[1]
    assert Settings(data_dir=deep[0]).broker_socket == sockets[0]
