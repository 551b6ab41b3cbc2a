"""What trainers ask of PostgreSQL while a million jobs lie in it: processor time of the database and of the trainer.

python -m benchmarks.scale [--jobs 1000000] [--queued 1000 10000] [--url postgresql://...]

One caller asks, by the code that trainers run, so that the kernel tells whose processor time an operation takes: a busy
machine changes the wall clock and hardly that. Without `--url` a PostgreSQL of the tests is started; a database that is
named must be empty. docs/scale.md multiplies the figures by how often each operation happens.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db import attempts, workers
from app.db.attempts import Claim
from app.db.migrate import upgrade
from app.db.session import Database, now
from app.db.tables import EventRow, JobRow
from app.housekeeping import prompt_duties
from app.settings import Settings
from tests.factories import make_job, make_project
from tests.support.postgres import postgres_server
from worker.supervisor.runner import claim_next

DEVICES = ("auto", "cpu")
PROJECTS = 20
WORKERS = 1_000
CHUNK = 50_000
#: Each operation is measured for so long, and so often, at least.
SECONDS = 4.0
OPERATIONS = 100
#: What differs between a job and the template that it is a copy of.
COPIED = {
    "id": "'job_' || lpad(to_hex(number), 32, '0')",
    "project_id": "'project_' || number % :projects",
    "status": "CASE WHEN number < :running THEN 'running' WHEN number < :ended THEN 'succeeded' ELSE 'queued' END",
    "attempt": "CASE WHEN number < :ended THEN 1 ELSE 0 END",
    "lease_owner": "CASE WHEN number < :running THEN 'wrk_' || number END",
    "lease_expires_at": "CASE WHEN number < :running THEN clock_timestamp() + interval '1 hour' END",
    "finished_at": "CASE WHEN number BETWEEN :running AND :ended - 1 THEN clock_timestamp() END",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation, in milliseconds."""

    database: float
    caller: float
    wall: float


def main() -> None:
    arguments = _arguments()
    with _url(arguments.url) as url:
        upgrade(url)
        database = Database(url)
        print(f"load of the machine before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
        began_at = time.perf_counter()
        _fill(database, arguments.jobs, max(arguments.queued))
        print(f"{arguments.jobs:,} jobs in {time.perf_counter() - began_at:,.0f} s", flush=True)
        print("| operation | database | trainer | wall |\n|---|---|---|---|")
        for name, operation in _steady(database):
            _tell(name, _measured(database, operation))
        for queued in sorted(arguments.queued, reverse=True):
            _leave_queued(database, queued)
            _tell(f"a claim, {queued:,} jobs queued", _measured(database, _claim(database)))
        print(f"load of the machine after: {os.getloadavg()[0]:.1f}")
        database.dispose()


def _steady(database: Database) -> Iterator[tuple[str, Callable[[], object]]]:
    """What trainers do all the time. Jobs and workers take turns, so that no row stays in a processor's cache."""
    turn = count()
    held = [Claim(_job_id(number), _project(number), 1, _worker(number)) for number in range(WORKERS)]
    duties = prompt_duties(Settings())

    def beat() -> None:
        with database.transaction() as session:
            _beat(session, next(turn) % WORKERS)

    def extend() -> None:
        with database.transaction() as session:
            assert attempts.extend(session, held[next(turn) % WORKERS], 3_600.0) is not None

    def look() -> None:
        with database.reading() as session:
            assert attempts.look(session, held[next(turn) % WORKERS]) is not None

    def look_for_work() -> None:
        with database.reading() as session:
            assert not attempts.any_claimable(session, ("none",))

    def look_after_duties() -> None:
        for duty in duties:
            with database.reading() as session:
                duty.is_due(session, now(session))

    yield "a heartbeat", beat
    yield "a lease extended", extend
    yield "a look for a request to stop", look
    yield "a look for work where there is none", look_for_work
    yield f"a look at {len(duties)} duties", look_after_duties


def _claim(database: Database) -> Callable[[], object]:
    def claim() -> None:
        assert claim_next(database, "wrk_bench", DEVICES, 3_600.0) is not None

    return claim


def _measured(database: Database, operation: Callable[[], object]) -> Cost:
    """Once it is warm: the driver prepares a statement that it meets the fifth time."""
    for _ in range(6):
        operation()
    server = _server_pid(database)
    before, own_before = _processor_seconds(server), time.process_time()
    walls: list[float] = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until or len(walls) < OPERATIONS:
        began_at = time.perf_counter()
        operation()
        walls.append(time.perf_counter() - began_at)
    database_seconds, own_seconds = _processor_seconds(server) - before, time.process_time() - own_before
    each = 1_000 / len(walls)
    return Cost(database_seconds * each, own_seconds * each, statistics.median(walls) * 1_000)


def _processor_seconds(pid: int) -> float:
    """To the nanosecond: operations are far shorter than the kernel's ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _tell(name: str, cost: Cost) -> None:
    print(f"| {name} | {cost.database:.2f} ms | {cost.caller:.2f} ms | {cost.wall:.2f} ms |", flush=True)


def _server_pid(database: Database) -> int:
    """Of the one connection that one caller uses."""
    with database.reading() as session:
        pid: int = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
        return pid


def _fill(database: Database, jobs: int, queued: int) -> None:
    """Copies of a job as a submission writes it: those that run first, then those that have ended, then those that
    wait. By the database alone: sent one by one they would take hours."""
    for number in range(PROJECTS):
        make_project(database, _project(number))
    template = make_job(database, started_at=None, lease_expires_at=None)
    names = [column.name for column in JobRow.__table__.columns]
    values = ", ".join(COPIED.get(name, f"template.{name}") for name in names)
    numbers = "generate_series(CAST(:first AS bigint), :last) AS number"
    one = "(SELECT * FROM jobs WHERE id = :template) AS template"
    copy = text(f"INSERT INTO jobs ({', '.join(names)}) SELECT {values} FROM {numbers}, {one}")  # noqa: S608  all of it is ours
    limits = {"running": WORKERS, "ended": jobs - queued, "projects": PROJECTS, "template": template.id}
    for first in range(0, jobs, CHUNK):
        with database.transaction() as session:
            session.execute(copy, limits | {"first": first, "last": min(first + CHUNK, jobs) - 1})
    with database.transaction() as session:
        session.execute(delete(EventRow).where(EventRow.job_id == template.id))
        session.execute(delete(JobRow).where(JobRow.id == template.id))
        for number in range(WORKERS):
            _beat(session, number)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _leave_queued(database: Database, queued: int) -> None:
    """The newest; the others are as if they had been cancelled."""
    newest = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED).order_by(JobRow.id.desc()).limit(queued)
    with database.transaction() as session:
        session.execute(
            update(JobRow)
            .where(JobRow.status == JobStatus.QUEUED, JobRow.id.not_in(newest))
            .values(status=JobStatus.CANCELLED.value)
            .execution_options(synchronize_session=False)
        )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE jobs"))


def _beat(session: Session, number: int) -> None:
    workers.heartbeat(
        session,
        id=_worker(number),
        role="trainer",
        queues=["cpu"],
        devices=["cpu"],
        address=None,
        loaded=[],
        at=now(session),
    )


def _job_id(number: int) -> str:
    return f"job_{number:032x}"


def _project(number: int) -> str:
    return f"project_{number % PROJECTS}"


def _worker(number: int) -> str:
    return f"wrk_{number}"


@contextmanager
def _url(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given.replace("postgresql://", "postgresql+psycopg://", 1)
        return
    # In a folder of its own: that of a user's is closed to the one that PostgreSQL runs as where we are root.
    with (
        tempfile.TemporaryDirectory(prefix="pretune-scale-") as folder,
        postgres_server(Path(folder)) as server,
        server.new_database() as url,
    ):
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--queued", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--url")
    return parser.parse_args()


if __name__ == "__main__":
    main()
