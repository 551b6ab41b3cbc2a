"""Recurrent duties of the control plane, done by whichever trainer has the duty's lease. All may be repeated freely.

A duty first looks, in a transaction that cannot write, whether there is anything to do: an idle service writes nothing.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db import duties, idempotency, outbox, queue, workers
from app.db.session import Database, now
from app.dispatch import Dispatcher, queues_for
from app.services.garbage import Garbage
from app.services.idempotency import KEPT_FOR
from app.services.sweeps.controller import SweepController
from app.settings import Settings
from app.storage import ArtifactStore

SWEEP_SECONDS = 600.0
WORKER_FORGOTTEN_AFTER = timedelta(hours=24)
NOTICE_FORGOTTEN_AFTER = timedelta(days=30)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Duty:
    """`work` gives the devices of jobs that became claimable. `is_due` is a read."""

    name: str
    every_seconds: float
    is_due: Callable[[Session, datetime], bool]
    work: Callable[[Database], Collection[str]]


class Housekeeping:
    """For one thread, but for `release_waiting` and `wake`, which any may call."""

    def __init__(
        self, database: Database, dispatcher: Dispatcher, settings: Settings, duties: Sequence[Duty], *, owner: str
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._settings = settings
        self._owner = owner
        self._duties = duties
        self._next_at = dict.fromkeys((duty.name for duty in duties), 0.0)

    def round(self) -> None:
        """Do what is due. A failure of the database waits for the next round."""
        for duty in self._duties:
            if time.monotonic() < self._next_at[duty.name]:
                continue
            self._next_at[duty.name] = time.monotonic() + duty.every_seconds
            try:
                self._do(duty)
            except SQLAlchemyError as error:
                _log.warning("duty_failed", duty=duty.name, error=str(error))

    def release_waiting(self) -> None:
        """At once, when a parent has just ended; the duty of the same name is the net below."""
        with self._database.reading() as session:
            if not queue.any_released(session):
                return
        with self._database.transaction() as session:
            devices = queue.release_waiting(session, now(session))
        self.wake(devices)

    def wake(self, devices: Collection[str]) -> None:
        """Tell trainers of jobs that want these devices."""
        if not devices:
            return
        with self._database.reading() as session:
            since = now(session) - self._settings.silence
            live_queues = workers.live_queues(session, since)
        self._dispatcher.wake(sorted({name for device in devices for name in queues_for(device, live_queues)}))

    def _do(self, duty: Duty) -> None:
        with self._database.reading() as session:
            if not duty.is_due(session, now(session)):
                return
        lease_seconds = 3 * duty.every_seconds
        with self._database.transaction() as session:
            if not duties.acquire(session, duty.name, self._owner, at=now(session), seconds=lease_seconds):
                return
        self.wake(duty.work(self._database))


def prompt_duties(settings: Settings) -> tuple[Duty, ...]:
    """Those that take a moment, and that jobs wait for."""
    often, max_lost = settings.housekeeping_seconds, settings.max_lost_attempts
    requeue = _in_transaction(lambda session, at: queue.requeue_expired(session, at, max_lost))
    return (
        Duty("expired_leases", often, queue.any_expired, requeue),
        Duty("waiting_jobs", often, lambda s, _: queue.any_released(s), _in_transaction(queue.release_waiting)),
        Duty("stale_wakes", often, queue.any_stale, _in_transaction(queue.take_stale)),
        Duty("sweep", SWEEP_SECONDS, lambda _s, _at: True, _in_transaction(_sweep)),
    )


def sweep_duty(controller: SweepController, settings: Settings) -> Duty:
    """Whoever does it without the lease does no harm: each step of a sweep takes the sweep's own lock."""
    return Duty(
        "sweeps", settings.housekeeping_seconds, lambda s, _: controller.is_due(s), lambda _: controller.round()
    )


def slow_duties(store: ArtifactStore, settings: Settings, stop: Callable[[], bool]) -> tuple[Duty, ...]:
    """Those that look at every file. They end early where `stop` says so."""

    def collect(database: Database) -> Collection[str]:
        Garbage(database, store).collect(datetime.now(UTC) - timedelta(seconds=settings.garbage_age_seconds), stop)
        return ()

    return (Duty("garbage", settings.garbage_seconds, _no_backup_runs, collect),)


def _no_backup_runs(session: Session, at: datetime) -> bool:
    return not duties.is_held(session, duties.BACKUP, at)


def _in_transaction(work: Callable[[Session, datetime], Collection[str]]) -> Callable[[Database], Collection[str]]:
    def done(database: Database) -> Collection[str]:
        with database.transaction() as session:
            return work(session, now(session))

    return done


def _sweep(session: Session, at: datetime) -> Collection[str]:
    workers.sweep(session, at - WORKER_FORGOTTEN_AFTER)
    idempotency.sweep(session, at - KEPT_FOR)
    outbox.sweep(session, at - NOTICE_FORGOTTEN_AFTER)
    return ()
