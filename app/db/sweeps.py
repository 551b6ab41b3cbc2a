"""The SQL of sweeps, their trials, and the jobs that these are."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import case, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from app.contract.job import TERMINAL, JobStatus
from app.contract.specs.sweep import SweepStatus, TrialState
from app.db.locking import Lock, locked
from app.db.tables import AttemptRow, JobRow, MetricRow, SweepRow, TrialRow
from app.db.usage import QUEUED, RUNNING

#: By metric and step.
Evaluations = Mapping[str, Mapping[int, float]]
UNFINISHED = (SweepStatus.RUNNING, SweepStatus.PAUSED)


class Spent(NamedTuple):
    """By all jobs of a sweep: the steps of its trials, and the seconds of all attempts."""

    steps: int
    seconds: float


def insert(session: Session, row: SweepRow | TrialRow) -> None:
    session.add(row)
    session.flush()


def get(session: Session, project_id: str, sweep_id: str, *, lock: Lock | None = None) -> SweepRow | None:
    query = select(SweepRow).where(
        SweepRow.id == sweep_id, SweepRow.project_id == project_id, SweepRow.deleted_at.is_(None)
    )
    return session.scalar(locked(query, lock).execution_options(populate_existing=True))


def locked_running(session: Session, sweep_id: str) -> SweepRow | None:
    """The sweep, locked until the transaction ends; None if it does not run."""
    query = select(SweepRow).where(SweepRow.id == sweep_id, SweepRow.status == SweepStatus.RUNNING)
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def page(
    session: Session, project_id: str, statuses: Collection[SweepStatus], *, before_id: str | None, limit: int
) -> Sequence[SweepRow]:
    """The newest first, and those older than `before_id`."""
    query = select(SweepRow).where(SweepRow.project_id == project_id, SweepRow.deleted_at.is_(None))
    if statuses:
        query = query.where(SweepRow.status.in_(statuses))
    if before_id is not None:
        query = query.where(SweepRow.id < before_id)
    return session.scalars(query.order_by(SweepRow.id.desc()).limit(limit)).all()


def running(session: Session) -> Sequence[str]:
    """Of all projects, the oldest first."""
    query = select(SweepRow.id).where(SweepRow.status == SweepStatus.RUNNING)
    return session.scalars(query.order_by(SweepRow.id)).all()


def any_running(session: Session) -> bool:
    return bool(session.scalar(select(exists().where(SweepRow.status == SweepStatus.RUNNING))))


def unpaused_jobs(session: Session) -> Sequence[tuple[str, str]]:
    """(project, job) of what is queued though its sweep is paused: it has waited for its parent until now."""
    query = (
        select(JobRow.project_id, JobRow.id)
        .join(SweepRow, SweepRow.id == JobRow.sweep_id)
        .where(SweepRow.status == SweepStatus.PAUSED, JobRow.status == JobStatus.QUEUED)
    )
    return [(project_id, job_id) for project_id, job_id in session.execute(query)]


def unfinished(session: Session, project_id: str) -> Sequence[SweepRow]:
    query = select(SweepRow).where(SweepRow.project_id == project_id, SweepRow.status.in_(UNFINISHED))
    return session.scalars(query.order_by(SweepRow.id)).all()


def in_need(session: Session, project_id: str, id: str) -> list[str]:  # noqa: A002  of a data set, a model or a job
    """The sweeps that have not ended and may begin further jobs with it."""
    return [row.id for row in unfinished(session, project_id) if id in _named(row)]


def _named(row: SweepRow) -> set[str]:
    """The data sets and parents of all jobs that a sweep may begin."""
    training, parents = row.template.get("training") or {}, row.spec["search"].get("parent") or {}
    named = (row.template["dataset"], training.get("validation_dataset"), row.template.get("parent"))
    return {*filter(None, named), *map(str, parents.get("choices", ()))}


def is_unfinished(session: Session, sweep_id: str) -> bool:
    return bool(session.scalar(select(exists().where(SweepRow.id == sweep_id, SweepRow.status.in_(UNFINISHED)))))


def trials_of(session: Session, sweep_id: str) -> Sequence[TrialRow]:
    """In order of their numbers."""
    query = select(TrialRow).where(TrialRow.sweep_id == sweep_id).order_by(TrialRow.number)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def trials_of_all(session: Session, sweep_ids: Collection[str]) -> Mapping[str, Sequence[TrialRow]]:
    """By sweep, in order of their numbers."""
    query = select(TrialRow).where(TrialRow.sweep_id.in_(sweep_ids)).order_by(TrialRow.number)
    found: dict[str, list[TrialRow]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.sweep_id].append(row)
    return found


def jobs_under_way(session: Session, sweep_ids: Collection[str]) -> Mapping[str, Sequence[JobRow]]:
    """By sweep, in order as of `jobs_of`: those that have not ended, all of trials that run, and the final one."""
    of_trial = (TrialRow.sweep_id == JobRow.sweep_id) & (TrialRow.number == JobRow.trial)
    told = or_(JobRow.trial.is_(None), JobRow.status.not_in(TERMINAL), TrialRow.state == TrialState.RUNNING)
    query = select(JobRow).outerjoin(TrialRow, of_trial).where(JobRow.sweep_id.in_(sweep_ids), told)
    found: dict[str, list[JobRow]] = defaultdict(list)
    for row in session.scalars(query.order_by(JobRow.trial.nulls_last(), JobRow.fold)):
        found[str(row.sweep_id)].append(row)
    return found


def jobs_of(session: Session, sweep_id: str, *, lock: Lock | None = None) -> Sequence[JobRow]:
    """Those of its trials in order of (trial, fold), and its final one; deleted ones too."""
    query = select(JobRow).where(JobRow.sweep_id == sweep_id)
    ordered = query.order_by(JobRow.trial.nulls_last(), JobRow.fold)
    return session.scalars(locked(ordered, lock).execution_options(populate_existing=True)).all()


def evaluations(session: Session, job_id: str, names: Collection[str]) -> Evaluations:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    query = select(MetricRow.name, MetricRow.step, MetricRow.value)
    for name, step, value in session.execute(query.where(MetricRow.job_id == job_id, MetricRow.name.in_(names))):
        found[name][step] = value
    return found


def spent(session: Session, sweep_ids: Collection[str], at: datetime) -> Mapping[str, Spent]:
    """By sweep, where it has jobs; attempts that run now included."""
    steps = case((JobRow.trial.is_not(None), JobRow.progress["step"].as_integer()))
    query = select(JobRow.sweep_id, func.coalesce(func.sum(steps), 0), func.sum(JobRow.seconds_run))
    of_sweeps = JobRow.sweep_id.in_(sweep_ids)
    found = {
        str(sweep_id): Spent(int(steps), float(seconds))
        for sweep_id, steps, seconds in session.execute(query.where(of_sweeps).group_by(JobRow.sweep_id))
    }
    running = (
        select(JobRow.sweep_id, AttemptRow.started_at)
        .join(JobRow, (JobRow.id == AttemptRow.job_id) & (JobRow.attempt == AttemptRow.number))
        .where(of_sweeps, JobRow.status.in_(RUNNING))
    )
    for sweep_id, begun in session.execute(running):
        so_far = found[str(sweep_id)]
        found[str(sweep_id)] = so_far._replace(seconds=so_far.seconds + (at - begun).total_seconds())
    return found


def mark_deleted(session: Session, row: SweepRow, at: datetime) -> None:
    """Its jobs are the caller's to delete."""
    session.execute(delete(TrialRow).where(TrialRow.sweep_id == row.id))
    row.deleted_at = at
    session.flush()


def has_active_jobs(session: Session, sweep_ids: Collection[str]) -> set[str]:
    """Of these, the sweeps of which some job is queued or has a process."""
    query = select(JobRow.sweep_id).where(JobRow.sweep_id.in_(sweep_ids), JobRow.status.in_((*RUNNING, *QUEUED)))
    return {sweep_id for sweep_id in session.scalars(query.distinct()) if sweep_id is not None}
