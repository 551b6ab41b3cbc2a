"""The SQL of jobs as a table that is sorted and searched: for people, who look at its first pages.

Pages are counted here, not continued from a cursor, since any column can order them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import SQLCoreOperations

from app.contract.job import JobStatus
from app.db.tables import JobRow

SortKey = Literal["created", "name", "status", "method", "loss", "finished"]
#: What each key sorts by. Ids are in order of time.
_SORTED: Mapping[SortKey, SQLCoreOperations[Any]] = {
    "created": JobRow.id,
    "name": JobRow.name,
    "status": JobRow.status,
    "method": JobRow.method,
    "loss": JobRow.metrics["validation_loss"].as_float(),
    "finished": JobRow.finished_at,
}


@dataclass(frozen=True, slots=True)
class TableFilters:
    """`search` stands somewhere in a name or an id, in any case; `dataset_id` is trained or validated on."""

    statuses: Collection[JobStatus] = ()
    method: str | None = None
    dataset_id: str | None = None
    search: str | None = None
    sweep: str | None = None


class Counts(NamedTuple):
    """`matching` jobs pass the filters; `by_status` counts those that would with any status."""

    matching: int
    by_status: dict[str, int]


def page(
    session: Session,
    project_id: str,
    filters: TableFilters,
    *,
    sort: SortKey,
    descending: bool,
    offset: int,
    limit: int,
) -> Sequence[JobRow]:
    """Jobs without the value that is sorted by come last. Ids are sorted first: a row with its spec is long."""
    value = _SORTED[sort]
    order = [value.desc().nulls_last() if descending else value.asc().nulls_last(), JobRow.id.desc()]
    query = select(JobRow.id).where(*_conditions(project_id, filters), *_of_status(filters))
    ids = session.scalars(query.order_by(*order).offset(offset).limit(limit)).all()
    rows = {row.id: row for row in session.scalars(select(JobRow).where(JobRow.id.in_(ids)))}
    return [rows[job_id] for job_id in ids]


def count(session: Session, project_id: str, filters: TableFilters) -> Counts:
    query = select(JobRow.status, func.count()).where(*_conditions(project_id, filters)).group_by(JobRow.status)
    by_status = {status: number for status, number in session.execute(query)}  # noqa: C416  mypy takes a row for no pair
    wanted = filters.statuses or by_status
    return Counts(sum(by_status.get(status, 0) for status in wanted), by_status)


def methods(session: Session, project_id: str) -> Sequence[str]:
    """Those that the project's jobs have."""
    there = (JobRow.project_id == project_id, JobRow.deleted_at.is_(None))
    query = select(JobRow.method).where(*there).distinct().order_by(JobRow.method)
    return session.scalars(query).all()


def _of_status(filters: TableFilters) -> list[ColumnElement[bool]]:
    return [JobRow.status.in_(filters.statuses)] if filters.statuses else []


def _conditions(project_id: str, filters: TableFilters) -> list[ColumnElement[bool]]:
    conditions = [JobRow.project_id == project_id, JobRow.deleted_at.is_(None)]
    if filters.method is not None:
        conditions.append(JobRow.method == filters.method)
    if filters.sweep is not None:
        conditions.append(JobRow.sweep_id == filters.sweep)
    if filters.dataset_id is not None:
        used = (JobRow.dataset_id, JobRow.validation_dataset_id)
        conditions.append(or_(*(column == filters.dataset_id for column in used)))
    if filters.search is not None:
        columns = (JobRow.name, JobRow.id)
        conditions.append(or_(*(column.icontains(filters.search, autoescape=True) for column in columns)))
    return conditions
