"""Series of metrics: written once a step, and thinned out without losing a spike."""

import numpy as np
import pytest

from app.db import metrics
from app.db.session import Database
from tests.factories import make_job


@pytest.fixture
def job_id(database: Database) -> str:
    return make_job(database).id


def write(database: Database, job_id: str, name: str, points: list[tuple[int, float]]) -> None:
    with database.transaction() as session:
        for step, value in points:
            metrics.upsert(session, job_id, step, {name: value})


def series(database: Database, job_id: str, max_points: int, *names: str) -> dict[str, list[tuple[int, float]]]:
    with database.reading() as session:
        return metrics.series(session, job_id, names, max_points)


def test_a_replayed_step_takes_the_place_of_the_first(database: Database, job_id: str) -> None:
    write(database, job_id, "loss", [(1, 3.0), (2, 2.0), (1, 3.5)])
    assert series(database, job_id, 10) == {"loss": [(1, 3.5), (2, 2.0)]}


def test_several_values_of_a_step_are_series_of_their_own(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        metrics.upsert(session, job_id, 5, {"train_loss": 1.0, "validation_loss": 2.0, "accuracy": 0.5})
        metrics.upsert(session, job_id, 6, {})
    assert series(database, job_id, 10, "accuracy", "train_loss") == {"accuracy": [(5, 0.5)], "train_loss": [(5, 1.0)]}
    assert len(series(database, job_id, 10)) == 3
    assert series(database, job_id, 10, "none") == {}


@pytest.mark.parametrize("max_points", [2, 3, 4, 5, 10, 50, 99])
def test_a_long_series_keeps_its_ends_and_its_extremes(database: Database, job_id: str, max_points: int) -> None:
    rng = np.random.default_rng(max_points)
    points = [(step * 7, float(rng.uniform(-1, 1))) for step in range(100)]
    write(database, job_id, "loss", points)
    thinned = series(database, job_id, max_points)["loss"]
    assert len(thinned) <= max_points
    assert set(thinned) <= set(points)
    assert thinned == sorted(thinned)
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])
    if max_points >= 4:
        values = [value for _, value in thinned]
        assert min(values) == min(value for _, value in points)
        assert max(values) == max(value for _, value in points)


def test_each_stretch_keeps_its_own_extremes(database: Database, job_id: str) -> None:
    """Against the plain way: cut 0..99 into (22 - 2) / 2 = 10 stretches of ten steps."""
    rng = np.random.default_rng(0)
    points = [(step, float(rng.random())) for step in range(100)]
    write(database, job_id, "loss", points)
    expected = {points[0], points[-1]}
    for start in range(0, 100, 10):
        stretch = points[start : start + 10]
        expected |= {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
    assert series(database, job_id, 22)["loss"] == sorted(expected)


def test_a_short_series_is_told_whole(database: Database, job_id: str) -> None:
    points = [(step, float(step)) for step in range(50)]
    write(database, job_id, "loss", points)
    assert series(database, job_id, 50)["loss"] == points
