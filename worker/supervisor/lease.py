"""The right to run one attempt: extended from a thread of its own, and checked by every write.

Its thread does nothing but ask the database; whoever must act in time (the watch) reads what it found, without waiting.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.db import attempts
from app.db.attempts import Claim, Lease
from app.db.session import DATABASE_AWAY, Database
from app.db.tables import JobRow

RETRY_SECONDS = 0.2

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class LeaseLost(Exception):
    """The attempt is no longer ours: nothing that it makes may be kept."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """`margin_seconds` before the lease ends we stop trusting it: a clock may drift, a kill takes a moment."""

    lease_seconds: float
    heartbeat_seconds: float
    poll_seconds: float

    @property
    def margin_seconds(self) -> float:
        return min(self.heartbeat_seconds, self.lease_seconds / 4)


class LeaseKeeper:
    """Extends the lease, and learns of requests to stop. A context: the thread ends with it."""

    def __init__(self, database: Database, claim: Claim, times: LeaseTimes, *, claimed_at: float) -> None:
        """`claimed_at` is the monotonic time just before the claim was made."""
        self._database = database
        self._claim = claim
        self._times = times
        self._extended_at = claimed_at
        self._refused = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{claim.job_id}", daemon=True)
        self.stop_request: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(timeout=1.0)

    @property
    def lost(self) -> bool:
        """The lease is another's, or may be so soon."""
        held_seconds = time.monotonic() - self._extended_at
        return self._refused or held_seconds > self._times.lease_seconds - self._times.margin_seconds

    def check(self) -> None:
        """Raises LeaseLost."""
        if self.lost:
            raise LeaseLost(self._claim)

    def write(self, apply: Callable[[Session, JobRow], T]) -> T:
        """Run `apply` in a transaction that holds the lease; again if the database is away. Raises LeaseLost.

        A commit whose answer got lost is repeated: what `apply` does must bear that.
        """
        while True:
            try:
                return self._write_once(apply)
            except DATABASE_AWAY as error:
                if self.lost:
                    raise LeaseLost(self._claim) from error
                _log.warning("write_retried", job_id=self._claim.job_id, error=str(error.orig))
                self._closed.wait(RETRY_SECONDS)

    def _write_once(self, apply: Callable[[Session, JobRow], T]) -> T:
        with self._database.transaction() as session:
            row = attempts.held(session, self._claim)
            if row is None:
                self._refused = True
                raise LeaseLost(self._claim)
            return apply(session, row)

    def _keep(self) -> None:
        while not self._closed.wait(self._times.poll_seconds):
            asked_at = time.monotonic()
            try:
                self._note(self._ask(asked_at), asked_at)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("lease_not_extended", job_id=self._claim.job_id, error=str(error))

    def _ask(self, asked_at: float) -> tuple[Lease | None, bool]:
        """The lease, and whether it was extended."""
        if asked_at - self._extended_at < self._times.heartbeat_seconds:
            with self._database.reading() as session:
                return attempts.look(session, self._claim), False
        with self._database.transaction() as session:
            return attempts.extend(session, self._claim, self._times.lease_seconds), True

    def _note(self, answer: tuple[Lease | None, bool], asked_at: float) -> None:
        lease, extended = answer
        if lease is None:
            self._refused = True
            return
        self.stop_request = lease.stop_request
        if extended:
            self._extended_at = asked_at
