"""What becomes of pins when something fails. That they are kept stands in `tests/app/api/test_model_life.py`."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.contract.inference import ModelReference
from app.db.session import Database
from app.db.tables import ModelRow, Row
from app.services.models import Models
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import make_model
from tests.worker.serving.figures import new_metrics
from worker.serving.loader import Loader
from worker.serving.pins import PinKeeper

pytestmark = pytest.mark.databases("sqlite")

DEADLINE_SECONDS = 10
Scenario = Callable[[Loader[str], PinKeeper], Awaitable[None]]


class Loads:
    """Loads by name; those of `damaged` fail."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.damaged: set[str] = set()

    def __call__(self, reference: ModelReference) -> str:
        self.ids.append(reference.model_id)
        if reference.model_id in self.damaged:
            raise OSError("damaged")
        return reference.model_id


@pytest.fixture
def pinned(database: Database, store: FolderStore) -> list[ModelRow]:
    rows = [make_model(database, store, seed=seed) for seed in range(2)]
    for row in rows:
        Models(database, store, Settings()).pin("default", row.id)
    return rows


def run(database: Database, loads: Loads, scenario: Scenario) -> None:
    async def bounded() -> None:
        loader = Loader(loads, 1_000_000, new_metrics())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await scenario(loader, PinKeeper(database, loader, interval_seconds=1))

    asyncio.run(bounded())


def test_a_damaged_pin_is_left_alone_for_a_while_and_holds_up_no_other(
    database: Database, pinned: list[ModelRow]
) -> None:
    loads = Loads()
    loads.damaged = {pinned[0].id}

    async def scenario(loader: Loader[str], keeper: PinKeeper) -> None:
        for _ in range(3):
            await keeper.look()
        assert sorted(loads.ids) == sorted(row.id for row in pinned)
        assert loader.loaded == [pinned[1].digest]
        loads.damaged.clear()
        keeper._retry_at.clear()  # the while is over
        await keeper.look()
        assert set(loader.loaded) == {row.digest for row in pinned}

    run(database, loads, scenario)


def test_what_is_pinned_stays_so_while_the_database_is_away(database: Database, pinned: list[ModelRow]) -> None:
    async def scenario(loader: Loader[str], keeper: PinKeeper) -> None:
        await keeper.look()
        Row.metadata.drop_all(database.engine)
        await keeper.look()
        assert loader.pinned == {row.digest for row in pinned}

    run(database, Loads(), scenario)


def test_what_is_unpinned_stays_in_memory_until_others_need_the_room(
    database: Database, store: FolderStore, pinned: list[ModelRow]
) -> None:
    async def scenario(loader: Loader[str], keeper: PinKeeper) -> None:
        await keeper.look()
        Models(database, store, Settings()).unpin("default", pinned[0].id)
        await keeper.look()
        assert loader.pinned == {pinned[1].digest}
        assert set(loader.loaded) == {row.digest for row in pinned}

    run(database, Loads(), scenario)
