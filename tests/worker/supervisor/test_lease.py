"""A lease that cannot be extended is given up before it ends, whatever the reason."""

import time
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.db.attempts import Claim
from app.db.session import Database
from app.db.tables import JobRow
from tests.support.waiting import wait_until
from worker.supervisor.lease import LeaseKeeper, LeaseLost, LeaseTimes

TIMES = LeaseTimes(lease_seconds=30.0, heartbeat_seconds=4.0, poll_seconds=0.05)
CLAIM = Claim("job_x", "default", 1, "wrk_a")


def test_a_database_that_is_away_costs_the_lease_before_another_may_have_it(tmp_path: Path) -> None:
    away = Database(f"sqlite:///{tmp_path}/no-such-folder/pretune.db")
    with LeaseKeeper(away, CLAIM, TIMES, claimed_at=time.monotonic() - 10.0) as lease:
        assert not lease.lost
    with LeaseKeeper(away, CLAIM, TIMES, claimed_at=time.monotonic() - 25.5) as lease:
        wait_until(lambda: lease.lost, 30.0, "the lease should be given up")
        with pytest.raises(LeaseLost):
            lease.write(_nothing)
    away.dispose()


def test_a_refused_write_gives_the_lease_up_at_once(database: Database) -> None:
    with LeaseKeeper(database, CLAIM, TIMES, claimed_at=time.monotonic()) as lease:
        with pytest.raises(LeaseLost):
            lease.write(_nothing)
        assert lease.lost


def _nothing(_: Session, row: JobRow) -> None:
    raise AssertionError(f"written without a lease: {row.id}")
