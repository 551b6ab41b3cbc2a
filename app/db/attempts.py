"""Runs of jobs: claiming one, holding its lease, ending it. Knows nothing of processes.

The lease belongs to (owner, attempt). Whatever an attempt writes, it writes in a transaction that began with `held`,
which locks the job: who lost the lease gets None and changes nothing.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, cast, func, select, update
from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, JobError
from app.contract.job import TERMINAL, AttemptOutcome, Fault, JobStatus
from app.db import events, jobs, projects, usage
from app.db.json_lists import no_element_beside
from app.db.session import now
from app.db.tables import AttemptRow, CheckpointRow, JobRow, ProjectRow

BATCH = 100
ACTIVE = usage.RUNNING


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of one job, for as long as its lease is extended."""

    job_id: str
    project_id: str
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that still holds; `stop_request` is what its owner is asked to do."""

    stop_request: str | None


@dataclass(frozen=True, slots=True)
class Room:
    """Free bytes where a worker's attempts write; `shared`: the store and the scratch are on one disk."""

    store_bytes: int
    scratch_bytes: int
    shared: bool


def any_claimable(
    session: Session,
    devices: Collection[str],
    room: Room | None = None,
    max_running: int | None = None,
    labels: Collection[str] = (),
) -> bool:
    """Any of them will do: to find the best, all that are queued are put in order."""
    return session.execute(_best_queued(devices, labels, room, max_running).order_by(None)).first() is not None


def claim(
    session: Session,
    *,
    owner: str,
    devices: Collection[str],
    lease_seconds: float,
    labels: Collection[str] = (),
    room: Room | None = None,
    max_running: int | None = None,
) -> JobRow | None:
    """Take the best queued job that runs on one of `devices`, asks for none but `labels` and fits into `room`, and
    start its next attempt.

    Projects take turns: next is the one that was served longest ago, and has fewer than `max_running` jobs running.
    Of its jobs, the best is told by priority, then age.
    """
    best = _best_to_start(session, _best_queued(devices, labels, room, max_running), max_running)
    if best is None:
        return None
    job_id, attempts_before, project_id = best
    at = now(session)
    projects.mark_served(session, project_id, at)
    won = jobs.transition(
        session,
        job_id,
        JobStatus.RUNNING,
        when={JobStatus.QUEUED},
        at=at,
        attempt=attempts_before + 1,
        lease_owner=owner,
        lease_expires_at=at + timedelta(seconds=lease_seconds),
        stop_request=None,
        wake_at=None,
        wake_count=0,
        error=None,
    )
    return _started(session, job_id, owner, at) if won else None


def any_without_room(session: Session, devices: Collection[str], room: Room, labels: Collection[str] = ()) -> bool:
    return session.execute(_without_room(devices, labels, room).limit(1)).first() is not None


def tell_without_room(
    session: Session,
    devices: Collection[str],
    room: Room,
    error_of: Callable[[JobRow, int], JobError],
    labels: Collection[str] = (),
) -> None:
    """Tell the queued jobs that do not fit into `room`, each once, what holds them back. `error_of` is given a job and
    the bytes that it has still to store."""
    waiting = _without_room(devices, labels, room).limit(BATCH).with_for_update(skip_locked=True, of=JobRow)
    for row, to_store in session.execute(waiting).all():
        error = error_of(row, to_store)
        row.error = error.model_dump(mode="json")
        events.append(session, row.id, "warning", {"message": error.message}, now(session))


def claim_of(row: JobRow) -> Claim:
    assert row.lease_owner is not None
    return Claim(row.id, row.project_id, row.attempt, row.lease_owner)


def extend(session: Session, claim: Claim, lease_seconds: float) -> Lease | None:
    """Hold the lease for another `lease_seconds`; None if it is no longer ours."""
    held_row = (JobRow.id == claim.job_id, JobRow.lease_owner == claim.owner, JobRow.attempt == claim.attempt)
    found = session.execute(
        update(JobRow)
        .where(*held_row, JobRow.status.in_(ACTIVE))
        .values(lease_expires_at=now(session) + timedelta(seconds=lease_seconds))
        .returning(JobRow.stop_request)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if found is None else Lease(found[0])


def look(session: Session, claim: Claim) -> Lease | None:
    """The lease as it stands, without extending it; a read."""
    row = session.scalar(_held(claim))
    return None if row is None else Lease(row.stop_request)


def running(session: Session, owners: Collection[str]) -> Sequence[JobRow]:
    """The jobs that those workers run now, of all projects."""
    query = select(JobRow).where(JobRow.status.in_(ACTIVE), JobRow.lease_owner.in_(owners))
    return session.scalars(query.order_by(JobRow.id)).all()


def held(session: Session, claim: Claim) -> JobRow | None:
    """The job, locked until the transaction ends; None if the lease is no longer ours."""
    return session.scalar(_held(claim).with_for_update().execution_options(populate_existing=True))


def conclude(
    session: Session,
    row: JobRow,
    outcome: AttemptOutcome,
    *,
    at: datetime,
    max_lost_attempts: int,
    error: JobError | None = None,
    detail: str | None = None,
    **changes: Any,
) -> JobStatus:
    """End the attempt that runs `row` (locked by the caller) and give up its lease; the job's new status.

    A request to stop wins: a job being cancelled ends `cancelled`, however its process ended.
    """
    lost = row.lost_attempts + (outcome is AttemptOutcome.LOST)
    status = next_status(JobStatus(row.status), outcome, exhausted=lost >= max_lost_attempts)
    if status is JobStatus.FAILED:
        changes["error"] = (error or _lost_too_often(lost, detail)).model_dump(mode="json")
    if status in TERMINAL:
        changes["finished_at"] = at
    if status is JobStatus.QUEUED:
        changes["queued_at"] = at
    owner = (str(row.lease_owner), row.attempt)
    attempt = session.get_one(AttemptRow, (row.id, owner[1]))
    counted = {
        "lost_attempts": lost,
        "seconds_run": row.seconds_run + (at - attempt.started_at).total_seconds(),
    }
    freed = {"lease_owner": None, "lease_expires_at": None, "stop_request": None}
    moved = jobs.transition(
        session, row.id, status, when={JobStatus(row.status)}, at=at, owner=owner, **freed, **counted, **changes
    )
    assert moved, "the caller holds the row's lock"
    attempt.outcome, attempt.detail, attempt.finished_at = _told_outcome(status, outcome), detail, at
    session.flush()
    return status


def next_status(status: JobStatus, outcome: AttemptOutcome, *, exhausted: bool) -> JobStatus:
    """Where an attempt that ended with `outcome` leaves its job. `exhausted`: no more lost attempts are allowed."""
    if status is JobStatus.CANCELLING:
        return JobStatus.CANCELLED
    match outcome:
        case AttemptOutcome.SUCCEEDED:
            return JobStatus.SUCCEEDED
        case AttemptOutcome.FAILED:
            return JobStatus.FAILED
        case AttemptOutcome.LOST if exhausted:
            return JobStatus.FAILED
        case AttemptOutcome.PAUSED:
            return JobStatus.PAUSED
        case _:
            return JobStatus.PAUSED if status is JobStatus.PAUSING else JobStatus.QUEUED


def _best_to_start(
    session: Session, best_queued: Select[str, int, str], max_running: int | None
) -> tuple[str, int, str] | None:
    """Of several that claim jobs of one project at once, no more succeed than may run: its lock is taken, then what
    runs is counted again."""
    while best := session.execute(best_queued.with_for_update(skip_locked=True, of=JobRow)).one_or_none():
        job_id, attempts_before, project_id = best
        projects.lock(session, project_id)
        if max_running is None or usage.jobs_in(session, project_id, ACTIVE) < max_running:
            return job_id, attempts_before, project_id
    return None


def _best_queued(
    devices: Collection[str], labels: Collection[str], room: Room | None, max_running: int | None
) -> Select[str, int, str]:
    conditions = [] if room is None else [_fits(room)]
    if max_running is not None:
        conditions.append(JobRow.project_id.not_in(usage.projects_with(ACTIVE, least=max_running)))
    return (
        select(JobRow.id, JobRow.attempt, JobRow.project_id)
        .join(ProjectRow, ProjectRow.id == JobRow.project_id)
        .where(*_for_a_trainer(devices, labels), *conditions)
        .order_by(ProjectRow.served_at.nulls_first(), JobRow.priority.desc(), JobRow.id)
        .limit(1)
    )


def _for_a_trainer(devices: Collection[str], labels: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    """Queued, and for one with these."""
    queued = JobRow.status == JobStatus.QUEUED
    return queued, JobRow.device.in_(devices), no_element_beside(JobRow.labels, labels)


def _without_room(devices: Collection[str], labels: Collection[str], room: Room) -> Select[JobRow, int]:
    untold = func.coalesce(JobRow.error["code"].as_string(), "") != ErrorCode.DISK_FULL
    return (
        select(JobRow, _to_store())
        .where(*_for_a_trainer(devices, labels), ~_fits(room), untold)
        .order_by(JobRow.id)
        .execution_options(populate_existing=True)
    )


def _fits(room: Room) -> ColumnElement[bool]:
    to_store, beside = _to_store(), func.coalesce(JobRow.scratch_bytes, 0)
    in_store = to_store + beside if room.shared else to_store
    return and_(in_store <= room.store_bytes, beside <= room.scratch_bytes)


def _to_store() -> ColumnElement[int]:
    """What is stored already needs no room. Null needs none, for nothing is known of it."""
    stored = (
        select(cast(func.coalesce(func.sum(CheckpointRow.size_bytes), 0), BigInteger))
        .where(CheckpointRow.job_id == JobRow.id)
        .scalar_subquery()
    )
    return case((JobRow.store_bytes > stored, JobRow.store_bytes - stored), else_=0)


def _held(claim: Claim) -> Select[JobRow]:
    return select(JobRow).where(
        JobRow.id == claim.job_id,
        JobRow.lease_owner == claim.owner,
        JobRow.attempt == claim.attempt,
        JobRow.status.in_(ACTIVE),
    )


def _started(session: Session, job_id: str, owner: str, at: datetime) -> JobRow:
    row = session.get_one(JobRow, job_id, populate_existing=True)
    row.started_at = row.started_at or at
    session.add(
        AttemptRow(
            job_id=job_id,
            number=row.attempt,
            worker_id=owner,
            started_at=at,
            finished_at=None,
            outcome=None,
            detail=None,
        )
    )
    session.flush()
    return row


def _told_outcome(status: JobStatus, outcome: AttemptOutcome) -> AttemptOutcome:
    """A run that a request stopped is told as such."""
    told = {JobStatus.CANCELLED: AttemptOutcome.CANCELLED, JobStatus.PAUSED: AttemptOutcome.PAUSED}
    return told.get(status, outcome)


def _lost_too_often(lost: int, detail: str | None) -> JobError:
    last = f" The last time: {detail}." if detail else ""
    return JobError(
        code=ErrorCode.LOST,
        message=f"The training process was lost {lost} times.{last} See the artifact training.log.",
        fault=Fault.INFRASTRUCTURE,
    )
