"""Live events for any number of listeners, out of one thread a process. Knows nothing of HTTP.

The thread looks only while somebody listens, and holds no session between two looks. A listener that does not keep up
is read no further until it has; what it has not got stays in the database.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.contract.job import TERMINAL
from app.db import events
from app.db.events import Head
from app.db.session import Database
from app.db.tables import EventRow

POLL_SECONDS = 0.25
BATCH = 500
MAX_BATCHES_WAITING = 8
CLOSE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Listener:
    """One follower of one job, in the event loop that made it. `cursor` is the last event handed over; only the feed's
    thread moves it."""

    def __init__(self, job_id: str, after_id: int) -> None:
        self.job_id = job_id
        self.cursor = after_id
        self._loop = asyncio.get_running_loop()
        self._batches: asyncio.Queue[Sequence[EventRow] | None] = asyncio.Queue()
        self._num_handed_over = 0
        self._num_taken = 0

    async def next(self, timeout_seconds: float) -> Sequence[EventRow] | None:
        """The next events, none when the time is up; None when no more will come."""
        try:
            batch = await asyncio.wait_for(self._batches.get(), timeout_seconds)
        except TimeoutError:
            return ()
        self._num_taken += 1
        return batch

    def has_room(self) -> bool:
        return self._num_handed_over - self._num_taken < MAX_BATCHES_WAITING

    def hand_over(self, batch: Sequence[EventRow] | None) -> bool:
        """False where the loop is gone, and so is whoever listened."""
        try:
            self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)
        except RuntimeError:
            return False
        self._num_handed_over += 1
        return True


class EventFeed:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def listen(self, job_id: str, after_id: int) -> Listener:
        """From within an event loop. Whoever listens must `leave`."""
        listener = Listener(job_id, after_id)
        with self._changed:
            if self._closed:
                listener.hand_over(None)
                return listener
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="event-feed", daemon=True)
                self._thread.start()
            self._changed.notify()
        return listener

    def leave(self, listener: Listener) -> None:
        with self._changed:
            self._listeners.discard(listener)

    def end(self) -> None:
        """End every stream, now and from now on; its client takes it up again elsewhere, by the last id that it got.
        Waits for nothing.
        """
        with self._changed:
            self._closed = True
            for listener in self._listeners:
                listener.hand_over(None)
            self._listeners.clear()
            self._changed.notify()

    def close(self) -> None:
        """End every stream, and the thread."""
        self.end()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while self._somebody_listens():
            try:
                more = self._look()
            except SQLAlchemyError as error:  # the database is away: listeners wait, and are told nothing wrong
                _log.warning("events_not_read", error=str(error))
                more = False
            if not more:
                self._pause()

    def _somebody_listens(self) -> bool:
        """Waits for it; False when the feed is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._listeners or self._closed)
            return not self._closed

    def _pause(self) -> None:
        """Cut short by a new listener."""
        with self._changed:
            self._changed.wait(POLL_SECONDS)

    def _look(self) -> bool:
        """Hand over what is new; whether there is more already."""
        with self._changed:
            followed = _by_job(self._listeners)
        more = False
        with self._database.reading() as session:
            for job_id, head in events.heads(session, followed).items():
                self._hand_out(session, job_id, head, followed[job_id])
                for listener in followed[job_id]:
                    more |= self._goes_on(listener, head)
        return more

    def _hand_out(self, session: Session, job_id: str, head: Head, listeners: Sequence[Listener]) -> None:
        """To those who have room now: one that finds it while we read may be further back than what we have read."""
        behind = [listener for listener in listeners if listener.cursor < head.last_id and listener.has_room()]
        if not behind:
            return
        fresh = events.after(session, job_id, min(listener.cursor for listener in behind), BATCH)
        for listener in behind:
            batch = [event for event in fresh if event.id > listener.cursor]
            if batch:
                listener.cursor = batch[-1].id
                if not listener.hand_over(batch):
                    self.leave(listener)

    def _goes_on(self, listener: Listener, head: Head) -> bool:
        """Whether there is more for this listener already; one that has all of a job that has ended is let go."""
        if listener.cursor < head.last_id:
            return listener.has_room()
        if head.status in TERMINAL:
            self.leave(listener)
            listener.hand_over(None)
        return False


def _by_job(listeners: Iterable[Listener]) -> dict[str, list[Listener]]:
    followed: dict[str, list[Listener]] = defaultdict(list)
    for listener in listeners:
        followed[listener.job_id].append(listener)
    return dict(followed)
