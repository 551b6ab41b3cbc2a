"""The SQL of metrics: one point a (job, name, step), written again rather than twice."""

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, ScalarSelect, column, func, select, values
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
    wanted = sorted(set(names)) or _names(session, job_id)
    found = ((name, _points(session, job_id, name, max_points)) for name in wanted)
    return {name: points for name, points in found if points}


def _names(session: Session, job_id: str) -> Iterator[str]:
    """From name to name by the index: a DISTINCT would read every point."""
    name: str | None = ""
    while name is not None:
        following = select(func.min(MetricRow.name)).where(MetricRow.job_id == job_id, MetricRow.name > name)
        name = session.execute(following).scalar_one()
        if name is not None:
            yield name


def _points(session: Session, job_id: str, name: str, max_points: int) -> list[Point]:
    points = select(MetricRow.step, MetricRow.value).where(MetricRow.job_id == job_id, MetricRow.name == name)
    head = session.execute(points.order_by(MetricRow.step).limit(max_points + 1)).all()
    if len(head) > max_points:
        kept = _kept_steps(session, job_id, name, max_points)
        head = session.execute(points.where(MetricRow.step.in_(kept)).order_by(MetricRow.step)).all()
    return [(step, value) for step, value in head]


def _kept_steps(session: Session, job_id: str, name: str, max_points: int) -> set[int]:
    """Of a million points 0.5 s on two cores; ranking them by window functions took ten times as long."""
    mine = (MetricRow.job_id == job_id, MetricRow.name == name)
    first, last = session.execute(select(func.min(MetricRow.step), func.max(MetricRow.step)).where(*mine)).one()
    num_stretches = (max_points - 2) // 2
    if not num_stretches:
        return {first, last}
    stretches = _stretches(first, last, num_stretches)
    inside = (*mine, MetricRow.step >= stretches.c.start, MetricRow.step < stretches.c.end)
    orders = (MetricRow.value.asc(), MetricRow.value.desc())
    found = session.execute(select(*(_first_step(stretches, inside, order) for order in orders)).select_from(stretches))
    return {first, last} | {step for pair in found for step in pair if step is not None}


def _stretches(first: int, last: int, number: int) -> CTE:
    """Even stretches of steps, each from `start` to before `end`."""
    span = last - first + 1
    bounds = [first + -(-place * span // number) for place in range(number + 1)]
    rows = list(pairwise(bounds))
    return values(column("start", BigInteger), column("end", BigInteger), name="stretches").data(rows).cte("stretches")


def _first_step(stretches: CTE, inside: Collection[ColumnElement[bool]], order: Any) -> ScalarSelect[int]:
    query = select(MetricRow.step).where(*inside).order_by(order, MetricRow.step).limit(1)
    return query.correlate(stretches).scalar_subquery()
