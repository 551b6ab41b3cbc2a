"""A service whose database is brought to the next version while jobs run: they go on in trainers of that version."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table

from app.backup.rows import lines_of, load, tables_of
from app.contract.job import JobStatus
from app.db.migrate import revisions, upgrade
from app.db.session import Database
from tests.support.postgres import PostgresServer
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer

pytestmark = pytest.mark.slow


@pytest.fixture
def older_url(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the same kind, as the version before made it."""
    head = revisions().get_revision("head")
    assert head is not None
    assert isinstance(head.down_revision, str)
    if database.engine.dialect.name == "sqlite":
        url = f"sqlite:///{tmp_path / 'older.db'}"
        upgrade(url, head.down_revision)
        yield url
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.new_database() as plain:
        url = plain.replace("postgresql://", "postgresql+psycopg://", 1)
        upgrade(url, head.down_revision)
        yield url


def test_a_job_that_ran_in_the_version_before_goes_on_from_its_checkpoint(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, database: Database, older_url: str, tmp_path: Path
) -> None:
    """What the trainer of the version before has written stands in the older schema; then that trainer is gone."""
    running = training_jobs.submit(steps=8, checkpoint_every=2, hang_at=5, faulty_attempts=1)
    queued = training_jobs.submit(steps=2)
    first = start_trainer(lease_seconds=5.0, stop_grace_seconds=0.1)
    training_jobs.wait_for_step(running, 5)
    training_jobs.wait_for_checkpoint(running, 4)
    older = Database(older_url)
    with database.snapshot() as new, older.transaction() as old:
        _copy(new.connection(), old.connection())
    first.stop()

    upgrade(older_url)
    upgraded = TrainingJobs(older, training_jobs.store, tmp_path)
    assert upgraded.get(running).status == JobStatus.RUNNING
    start_trainer(database_url=older_url)
    for job_id in (running, queued):
        upgraded.wait_for(job_id, JobStatus.SUCCEEDED)
    assert upgraded.outcomes(running) == ["lost", "succeeded"]
    assert upgraded.weights(running) == weights_after(8)
    steps = [event["step"] for event in upgraded.events(running, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    older.dispose()


def _copy(new: Connection, old: Connection) -> None:
    """Each row, without what the older schema has no column for."""
    known = {table.name: table for table in tables_of(new)}
    for table in tables_of(old):
        load(old, table, _lines(new, known[table.name], table))


def _lines(new: Connection, source: Table, older: Table) -> Iterator[bytes]:
    for line in lines_of(new, source):
        row = json.loads(line)
        yield json.dumps({name: value for name, value in row.items() if name in older.columns}).encode()
