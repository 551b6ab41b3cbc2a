"""The SQL of metrics: one point a (job, name, step), written again rather than twice."""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import BigInteger, ColumnElement, Subquery, case, cast, func, or_, select
from sqlalchemy.orm import Session

from app.db.tables import MetricRow
from app.db.upsert import upsert as upsert_rows

Point = tuple[int, float]


def upsert(session: Session, job_id: str, step: int, values: dict[str, float]) -> None:
    rows = [{"job_id": job_id, "name": name, "step": step, "value": value} for name, value in values.items()]
    upsert_rows(session, MetricRow, rows)


def series(session: Session, job_id: str, names: Collection[str], max_points: int) -> dict[str, list[Point]]:
    """Points by name, in order of steps; no names means all of them.

    A longer series is cut into even stretches of steps, each told by its lowest and its highest value; the first and
    the last point always stay. So a spike is never lost, and `max_points` (at least 2) never exceeded.
    """
    picked = _ranked(job_id, names, (max_points - 2) // 2)
    columns = picked.c
    whole = columns.num_points <= max_points
    extreme = or_(columns.from_lowest == 1, columns.from_highest == 1) if max_points >= 4 else None
    ends = columns.step.in_([columns.first_step, columns.last_step])
    kept = or_(whole, ends) if extreme is None else or_(whole, ends, extreme)
    found: dict[str, list[Point]] = defaultdict(list)
    for name, step, value in session.execute(
        select(columns.name, columns.step, columns.value).where(kept).order_by(columns.name, columns.step)
    ):
        found[name].append((step, value))
    return dict(found)


def _ranked(job_id: str, names: Collection[str], num_buckets: int) -> Subquery:
    """Each point with its rank within its stretch, by value from below and from above."""
    points = _bounded(job_id, names)
    columns = points.c
    bucket = _bucket(columns.step, columns.first_step, columns.last_step, max(num_buckets, 1))
    stretch = [columns.name, bucket]
    lowest = func.row_number().over(partition_by=stretch, order_by=[columns.value, columns.step])
    highest = func.row_number().over(partition_by=stretch, order_by=[columns.value.desc(), columns.step])
    return select(points, lowest.label("from_lowest"), highest.label("from_highest")).subquery()


def _bounded(job_id: str, names: Collection[str]) -> Subquery:
    query = select(
        MetricRow.name,
        MetricRow.step,
        MetricRow.value,
        func.min(MetricRow.step).over(partition_by=MetricRow.name).label("first_step"),
        func.max(MetricRow.step).over(partition_by=MetricRow.name).label("last_step"),
        func.count().over(partition_by=MetricRow.name).label("num_points"),
    ).where(MetricRow.job_id == job_id)
    return (query.where(MetricRow.name.in_(names)) if names else query).subquery()


def _bucket(
    step: ColumnElement[int], first: ColumnElement[int], last: ColumnElement[int], num_buckets: int
) -> ColumnElement[int]:
    """Which of `num_buckets` even stretches between the ends a step lies in."""
    share = (step - first) * 1.0 / case((last == first, 1), else_=last - first + 1)
    return cast(func.floor(share * num_buckets), BigInteger)
