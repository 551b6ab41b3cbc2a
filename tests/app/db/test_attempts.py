"""Claims, leases and the ends of attempts, on both databases."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.errors import ErrorCode, JobError
from app.contract.job import TRANSITIONS, AttemptOutcome, Fault, JobStatus
from app.db import attempts, jobs, usage
from app.db.attempts import Claim
from app.db.session import Database, now
from app.db.tables import JobRow
from app.storage import FolderStore
from tests.factories import make_job
from tests.support.threads import together
from tests.support.training_jobs import TrainingJobs

CPU = ("auto", "cpu")


@pytest.fixture
def training_jobs(database: Database, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, FolderStore(tmp_path / "artifacts"), tmp_path)


def claim(database: Database, owner: str = "wrk_a", devices: tuple[str, ...] = CPU) -> JobRow | None:
    with database.transaction() as session:
        return attempts.claim(session, owner=owner, devices=devices, lease_seconds=30.0)


def conclude(
    database: Database, claimed: Claim, outcome: AttemptOutcome, error: JobError | None = None
) -> JobStatus | None:
    """None where the lease is no longer the claim's."""
    with database.transaction() as session:
        row = attempts.held(session, claimed)
        if row is None:
            return None
        return attempts.conclude(session, row, outcome, at=now(session), max_lost_attempts=2, error=error)


def claimed_job(database: Database) -> Claim:
    row = claim(database)
    assert row is not None
    return attempts.claim_of(row)


def test_the_highest_priority_is_claimed_first_and_then_the_oldest(
    training_jobs: TrainingJobs, database: Database
) -> None:
    low, first, second, high = (training_jobs.submit(priority=priority) for priority in (-1, 0, 0, 5))
    order = [row.id for row in iter(lambda: claim(database), None)]
    assert order == [high, first, second, low]


def test_a_trainer_claims_only_what_its_device_can_run(training_jobs: TrainingJobs, database: Database) -> None:
    on_gpu, on_any = training_jobs.submit(device="cuda", priority=9), training_jobs.submit(device="auto")
    row = claim(database)
    assert row is not None
    assert row.id == on_any
    assert claim(database) is None
    row = claim(database, devices=("auto", "cpu", "cuda"))
    assert row is not None
    assert row.id == on_gpu


@pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.QUEUED])
def test_only_queued_jobs_are_claimed(training_jobs: TrainingJobs, database: Database, status: JobStatus) -> None:
    training_jobs.submit(status=status)
    assert claim(database) is None


def test_a_claim_starts_the_next_attempt(training_jobs: TrainingJobs, database: Database) -> None:
    job_id = training_jobs.submit()
    row = claim(database)
    assert row is not None
    assert (row.id, row.status, row.attempt, row.lease_owner) == (job_id, JobStatus.RUNNING, 1, "wrk_a")
    assert row.lease_expires_at is not None
    assert row.started_at is not None
    assert (row.lease_expires_at - row.started_at).total_seconds() == pytest.approx(30.0)
    assert training_jobs.events(job_id, "status") == [{"status": "running", "attempt": 1}]


def test_of_many_claimers_each_job_has_one(training_jobs: TrainingJobs, database: Database) -> None:
    """200 jobs and 4 claimers, each job announced three times over: no job is started twice."""
    with database.transaction() as session:
        template = session.get_one(JobRow, training_jobs.submit())
        columns = {column.key: getattr(template, column.key) for column in JobRow.__table__.columns}
        session.add_all(JobRow(**columns | {"id": f"job_{number:03}"}) for number in range(199))
    starts: list[tuple[str, int]] = []

    def claimer(owner: str) -> None:
        claimed = (claim(database, owner) for _ in range(150))
        starts.extend((row.id, row.attempt) for row in claimed if row is not None)

    threads = [threading.Thread(target=claimer, args=(f"wrk_{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(starts) == len(set(starts)) == 200
    assert {attempt for _, attempt in starts} == {1}


def test_a_lease_is_extended_by_its_owner_alone(training_jobs: TrainingJobs, database: Database) -> None:
    job_id = training_jobs.submit()
    claimed = claimed_job(database)
    before = training_jobs.get(job_id).lease_expires_at
    strangers = [
        Claim(claimed.job_id, claimed.project_id, claimed.attempt, "wrk_b"),
        Claim(claimed.job_id, claimed.project_id, claimed.attempt + 1, claimed.owner),
        Claim("job_other", claimed.project_id, claimed.attempt, claimed.owner),
    ]
    for stranger in strangers:
        with database.transaction() as session:
            assert attempts.extend(session, stranger, 900.0) is None
            assert attempts.held(session, stranger) is None
            assert attempts.look(session, stranger) is None
    assert training_jobs.get(job_id).lease_expires_at == before
    training_jobs.request_stop(job_id, "pause")
    with database.transaction() as session:
        assert attempts.extend(session, claimed, 900.0) == attempts.Lease("pause")
    after = training_jobs.get(job_id).lease_expires_at
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 800


def test_a_stale_owner_cannot_end_the_attempt_that_follows_its_own(
    training_jobs: TrainingJobs, database: Database
) -> None:
    job_id = training_jobs.submit()
    first = claimed_job(database)
    assert conclude(database, first, AttemptOutcome.LOST) is JobStatus.QUEUED
    second = claimed_job(database)
    assert conclude(database, first, AttemptOutcome.SUCCEEDED) is None
    assert training_jobs.get(job_id).status == JobStatus.RUNNING
    assert conclude(database, second, AttemptOutcome.SUCCEEDED) is JobStatus.SUCCEEDED
    assert training_jobs.outcomes(job_id) == ["lost", "succeeded"]


def test_lost_attempts_are_capped_and_preempted_ones_are_not(training_jobs: TrainingJobs, database: Database) -> None:
    job_id = training_jobs.submit()
    outcomes = [AttemptOutcome.PREEMPTED] * 5 + [AttemptOutcome.LOST] * 2
    statuses = [conclude(database, claimed_job(database), outcome) for outcome in outcomes]
    assert statuses == [JobStatus.QUEUED] * 6 + [JobStatus.FAILED]
    row = training_jobs.get(job_id)
    assert row.error is not None
    assert (row.error["code"], row.lost_attempts, row.attempt) == ("lost", 2, 7)
    assert (row.lease_owner, row.lease_expires_at, row.stop_request) == (None, None, None)
    assert row.finished_at is not None


@pytest.mark.parametrize("outcome", list(AttemptOutcome))
def test_a_job_being_cancelled_ends_cancelled_however_its_process_ended(
    training_jobs: TrainingJobs, database: Database, outcome: AttemptOutcome
) -> None:
    job_id = training_jobs.submit()
    claimed = claimed_job(database)
    training_jobs.request_stop(job_id, "cancel")
    error = JobError(code=ErrorCode.BAD_DATA, message="no", fault=Fault.USER)
    assert conclude(database, claimed, outcome, error) is JobStatus.CANCELLED
    assert (training_jobs.outcomes(job_id), training_jobs.get(job_id).error) == (["cancelled"], None)


def test_every_end_of_an_attempt_is_an_allowed_transition() -> None:
    for status in attempts.ACTIVE:
        for outcome in AttemptOutcome:
            for exhausted in (True, False):
                assert attempts.next_status(status, outcome, exhausted=exhausted) in TRANSITIONS[status]


def test_two_ends_of_one_attempt_leave_one(training_jobs: TrainingJobs, database: Database) -> None:
    """A finish races the requeueing of an expired lease, again and again: one of them wins, whole."""
    for turn in range(10):
        job_id = training_jobs.submit()
        claimed = claimed_job(database)
        ends: list[Callable[[], object]] = [
            lambda claimed=claimed: conclude(database, claimed, AttemptOutcome.SUCCEEDED),  # type: ignore[misc]
            lambda claimed=claimed: conclude(database, claimed, AttemptOutcome.LOST),  # type: ignore[misc]
        ]
        threads = [threading.Thread(target=end) for end in (ends if turn % 2 else reversed(ends))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = training_jobs.statuses(job_id)
        assert told in (["running", "succeeded"], ["running", "queued"])
        if told[-1] == "queued":
            with database.transaction() as session:
                assert jobs.transition(session, job_id, JobStatus.CANCELLED, when={JobStatus.QUEUED}, at=now(session))


class TestTurnsOfProjects:
    def queued(self, database: Database, *jobs: tuple[str, int]) -> list[str]:
        """A job of each (project, priority), in this order."""
        return [make_job(database, project_id=project, priority=priority).id for project, priority in jobs]

    def test_projects_take_turns_and_each_has_its_own_priorities(self, database: Database) -> None:
        """However many one has queued, and however urgent it calls them."""
        a1, a2, a3, b1, b2, c1 = self.queued(database, ("a", 0), ("a", 0), ("a", 9), ("b", 0), ("b", 1), ("c", -5))
        with database.reading() as session:
            places = jobs.queue_positions(session, [a1, a2, a3, b1, b2, c1])
        order = [row.id for row in iter(lambda: claim(database), None)]
        assert order == [a3, b2, c1, a1, b1, a2]
        assert sorted(places, key=places.__getitem__) == order

    def test_a_project_that_comes_later_does_not_wait_for_all_the_others(self, database: Database) -> None:
        a1, a2, _ = self.queued(database, ("a", 0), ("a", 0), ("a", 0))
        assert claimed_job(database).job_id == a1
        [b1] = self.queued(database, ("b", 0))
        with database.reading() as session:
            assert jobs.queue_positions(session, [b1, a2]) == {b1: 1, a2: 2}
        assert claimed_job(database).job_id == b1

    def test_no_more_jobs_of_a_project_run_than_may_and_others_pass_them(self, database: Database) -> None:
        made = self.queued(database, ("a", 9), ("a", 9), ("a", 9), ("b", 0))
        order = []
        for _ in range(4):
            with database.transaction() as session:
                row = attempts.claim(session, owner="wrk_a", devices=CPU, lease_seconds=30.0, max_running=2)
                order.append(row and row.id)
        assert order == [made[0], made[3], made[1], None]
        with database.reading() as session:
            assert not attempts.any_claimable(session, CPU, max_running=2)
            assert attempts.any_claimable(session, CPU, max_running=3)
        running = attempts.Claim(made[0], "a", 1, "wrk_a")
        assert conclude(database, running, AttemptOutcome.FAILED) is JobStatus.FAILED
        with database.transaction() as session:
            row = attempts.claim(session, owner="wrk_a", devices=CPU, lease_seconds=30.0, max_running=2)
        assert row is not None
        assert row.id == made[2]

    def test_trainers_that_claim_at_once_pass_no_limit(self, database: Database) -> None:
        self.queued(database, *[("a", 0)] * 6, *[("b", 0)] * 6)

        def take() -> None:
            with database.transaction() as session:
                attempts.claim(session, owner="wrk_a", devices=CPU, lease_seconds=30.0, max_running=2)

        for _ in range(3):
            together(6, take)
        with database.reading() as session:
            assert [usage.jobs_in(session, project, usage.RUNNING) for project in ("a", "b")] == [2, 2]
