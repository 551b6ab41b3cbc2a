"""A page of sweeps tells of each what its own page does, and asks the database no more for many than for one."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID
from tests.app.services.sweeps.conftest import SweepBench

pytestmark = pytest.mark.databases("sqlite", "postgresql")


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements within."""
    asked: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(database.engine, "before_cursor_execute", hear)
    yield asked
    event.remove(database.engine, "before_cursor_execute", hear)


def test_a_list_tells_what_each_sweep_tells(bench: SweepBench) -> None:
    with counted(bench.database) as asked_of_none:
        assert bench.sweeps.page(DEFAULT_PROJECT_ID, (), None, 10).data == []
    bench.run(bench.create(trials=2, max_parallel=2, finalize=True).id)
    bench.create(trials=2, max_parallel=2, folds=2, pruner={"reduction_factor": 3})
    paused = bench.create(trials=2, max_parallel=1, budget={"steps": 1})
    bench.look()
    bench.train(limit=3)
    bench.sweeps.pause(DEFAULT_PROJECT_ID, paused.id)
    bench.create()

    with counted(bench.database) as asked_of_four:
        listed = bench.sweeps.page(DEFAULT_PROJECT_ID, (), None, 10).data
    assert [each.status for each in listed] == ["running", "paused", "running", "succeeded"]
    assert [each.steps > 0 for each in listed] == [False, False, True, True]
    for summary in listed:
        assert summary.model_dump() == bench.get(summary.id).model_dump(exclude={"trials"})
    assert len(asked_of_four) == len(asked_of_none) > 0
