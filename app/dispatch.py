"""Wake-ups for trainers, sent through Celery after the commit. Knows no job: a message names a queue and says "look".

A wake-up may be lost or repeated: idle trainers look at the database by themselves, only a little later. So nobody
waits for the broker: `wake` returns at once, and one background thread publishes.
"""

import contextlib
import queue
import threading
from collections.abc import Collection
from typing import Any

import structlog
from celery import Celery

from app.contract.messages import CPU_QUEUE, GPU_QUEUE, WAKE_TASK
from app.settings import Settings

#: A frozen broker held a publisher for more than 25 s without timeouts (reliability measurements, Celery 5.7).
TRANSPORT_OPTIONS = {"socket_timeout": 2.0, "socket_connect_timeout": 2.0, "max_retries": 0}
#: Wake-ups beyond these are dropped: so many wake every slot there is.
MAX_PENDING = 256
#: The first try may meet a connection that the broker closed long ago.
TRIES = 2
CLOSE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def queues_for(device: str, live_queues: Collection[str] = ()) -> frozenset[str]:
    """The queues whose trainers can run a job for `device`; `live_queues` are those that some trainer listens to."""
    match device:
        case "cuda":
            return frozenset({GPU_QUEUE})
        case "auto" if GPU_QUEUE in live_queues:
            return frozenset({CPU_QUEUE, GPU_QUEUE})
        case _:
            return frozenset({CPU_QUEUE})


class Dispatcher:
    """Publishes wake-ups from one thread of its own. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._celery = Celery("pretune", broker=settings.resolved_broker_url, set_as_current=False)
        self._celery.conf.update(broker_transport_options=TRANSPORT_OPTIONS, task_ignore_result=True)
        self._pending: queue.Queue[str | None] = queue.Queue(MAX_PENDING)
        self._connection: Any = None
        self._closed = threading.Event()
        self._publisher = threading.Thread(target=self._publish_all, name="dispatcher", daemon=True)
        self._publisher.start()

    def wake(self, queues: Collection[str]) -> None:
        """Ask one idle slot behind each queue to look for work. Never waits, never fails."""
        for name in queues:
            self._put(name)

    def close(self) -> None:
        """Publish what is pending, unless the broker is away, and end the thread."""
        self._closed.set()
        self._put(None)
        self._publisher.join(timeout=CLOSE_SECONDS)

    def _put(self, name: str | None) -> None:
        with contextlib.suppress(queue.Full):
            self._pending.put_nowait(name)

    def _publish_all(self) -> None:
        while (name := self._next()) is not None:
            try:
                self._publish(name)
            except Exception as error:  # noqa: BLE001  each transport has its own errors; losing a wake-up is allowed
                _log.warning("wake_up_lost", queue=name, dropped=self._drop_pending(), error=str(error))

    def _next(self) -> str | None:
        """The next queue to wake; None when closed and nothing is pending."""
        while True:
            try:
                name = self._pending.get(timeout=1.0)
            except queue.Empty:
                name = None
            if name is not None or self._closed.is_set():
                return name

    def _publish(self, name: str) -> None:
        for remaining in reversed(range(TRIES)):
            connection = self._connection or self._celery.connection_for_write()
            try:
                self._celery.send_task(WAKE_TASK, queue=name, retry=False, connection=connection)
            except Exception:
                self._connection = None
                connection.release()
                if not remaining:
                    raise
            else:
                self._connection = connection
                return

    def _drop_pending(self) -> int:
        """While the broker is away each try costs seconds: what has piled up is not worth them."""
        dropped = 0
        with contextlib.suppress(queue.Empty):
            while True:
                name = self._pending.get_nowait()
                if name is None:
                    return dropped
                dropped += 1
        return dropped
