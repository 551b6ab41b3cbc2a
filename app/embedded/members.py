"""Which programs make up the service on one machine, with which settings, and how each says that it is ready."""

import os
import secrets
import socket
import sys
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from app.db import workers
from app.db.session import Database, now
from app.embedded import broker
from app.embedded.member import MemberSpec
from app.embedded.sockets import port_of
from app.settings import Settings

#: Beyond the grace that a training process has for its last checkpoint.
TRAINER_MARGIN_SECONDS = 10.0
STREAMS_SECONDS = 3
ANSWER_SECONDS = 1.0
_SECRETS_OF_THE_API = frozenset({"PRETUNE_BOOTSTRAP_KEY"})


def broker_member(settings: Settings) -> MemberSpec:
    """Given a minimal environment: the server refuses to start under a locale that the machine lacks."""
    path, folder = settings.broker_socket, settings.data_dir.absolute() / "broker"
    return MemberSpec(
        name="broker",
        command=broker.command(broker.find_binary(), path, folder),
        environment={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
        ready=lambda: broker.answers(path),
        stop_seconds=10.0,
        prepare=lambda: broker.prepare(path, folder),
    )


def python_members(
    settings: Settings, database: Database, api: socket.socket, inference: socket.socket
) -> list[MemberSpec]:
    """The api, an inference replica and a trainer, in the order in which they start."""
    environment = _environment(settings, port_of(api), port_of(inference))
    without_secrets = {name: value for name, value in environment.items() if name not in _SECRETS_OF_THE_API}
    return [
        MemberSpec(
            name="inference",
            command=_uvicorn("worker.serving.asgi:app", inference),
            environment=without_secrets | _threads(_inference_threads(settings)),
            ready=_seen(database, "inference"),
            stop_seconds=10.0,
            inherits=[inference.fileno()],
        ),
        MemberSpec(
            name="api",
            command=_uvicorn("app.main:app", api),
            environment=environment | _threads(1),
            ready=lambda: answers(api, "/readyz"),
            stop_seconds=10.0,
            inherits=[api.fileno()],
        ),
        MemberSpec(
            name="trainer",
            command=[
                *(sys.executable, "-m", "celery", "-q", "-A", "worker.celery_app", "worker"),
                *("--without-gossip", "--without-mingle", "--loglevel", "WARNING"),
            ],
            environment=without_secrets | _threads(1),
            ready=_seen(database, "trainer"),
            stop_seconds=settings.stop_grace_seconds + TRAINER_MARGIN_SECONDS,
        ),
    ]


def answers(listener: socket.socket, path: str) -> bool:
    """Whether a GET is answered with 200. Plain bytes: an HTTP client would cost the top process its memory."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(_reachable(listener), ANSWER_SECONDS) as connection:
            connection.sendall(request.encode())
            return b" 200 " in connection.recv(64).split(b"\r\n")[0]
    except OSError:
        return False


def _reachable(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104  a comparison, not a bind


def _uvicorn(application: str, listener: socket.socket) -> list[str]:
    """Open streams of events end after a short grace: a client takes them up again by their last id."""
    return [
        *(sys.executable, "-m", "uvicorn", application, "--fd", str(listener.fileno())),
        *("--timeout-graceful-shutdown", str(STREAMS_SECONDS), "--no-access-log"),
    ]


def _seen(database: Database, role: workers.Role) -> Callable[[], bool]:
    """Whether a worker of that role has been heard of since now; rows of an earlier start do not count."""
    since = _clock(database)

    def seen() -> bool:
        try:
            with database.reading() as session:
                return bool(workers.live(session, role, since))
        except SQLAlchemyError:
            return False

    return seen


def _clock(database: Database) -> datetime:
    with database.reading() as session:
        return now(session)


def _environment(settings: Settings, api_port: int, inference_port: int) -> dict[str, str]:
    """Ours, with what was given as an option; the token is new at each start and never leaves the machine."""
    slots = {} if settings.slots is None else {"PRETUNE_SLOTS": str(settings.slots)}
    return (
        dict(os.environ)
        | slots
        | {
            "PRETUNE_DATA_DIR": str(settings.data_dir.absolute()),
            "PRETUNE_HOST": settings.host,
            "PRETUNE_PORT": str(api_port),
            "PRETUNE_INFERENCE_HOST": "127.0.0.1",
            "PRETUNE_INFERENCE_PORT": str(inference_port),
            "PRETUNE_INTERNAL_TOKEN": secrets.token_urlsafe(32),
            "PYTHONUNBUFFERED": "1",
        }
    )


def _inference_threads(settings: Settings) -> int:
    return settings.inference_threads or max(1, (os.cpu_count() or 1) // 2)


def _threads(count: int) -> dict[str, str]:
    """Set for every process: numeric libraries would otherwise take all cores each, and fight for them."""
    return {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count), "GOMP_SPINCOUNT": "10000"}
