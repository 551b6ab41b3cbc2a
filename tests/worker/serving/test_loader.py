import asyncio
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from tests.worker.serving.figures import Figures, new_metrics
from worker.serving.errors import ModelTooLarge
from worker.serving.loader import Loader

DEADLINE_SECONDS = 10
METRICS = new_metrics()


def reference(name: str, size_bytes: int = 10) -> ModelReference:
    files = (FileEntry(path="weights", size_bytes=size_bytes, sha256=hashlib.sha256(name.encode()).hexdigest()),)
    return ModelReference(model_id=name, digest=model_digest(files), artifact_prefix=name, files=files)


A, B, C = reference("a"), reference("b"), reference("c")


class Loads:
    """Serves a model by its name; loading one of `held` waits until `gate` opens."""

    def __init__(self, held: str = "") -> None:
        self.names: list[str] = []
        self.held = held
        self.gate = threading.Event()

    def __call__(self, reference: ModelReference) -> str:
        self.names.append(reference.model_id)
        if reference.model_id == self.held:
            assert self.gate.wait(DEADLINE_SECONDS)
        return reference.model_id


async def asked(loader: Loader[str], model: ModelReference) -> str:
    async with loader.use(model) as served:
        return served


def run(scenario: Callable[[], Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await scenario()

    return asyncio.run(bounded())


def test_concurrent_first_requests_load_once() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, 100, METRICS)
        requests = [asyncio.create_task(asked(loader, A)) for _ in range(5)]
        await asyncio.sleep(0)
        loads.gate.set()
        assert await asyncio.gather(*requests) == ["a"] * 5

    run(scenario)
    assert loads.names == ["a"]


def test_loading_one_model_does_not_block_another() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, 100, METRICS)
        slow = asyncio.create_task(asked(loader, A))
        await asyncio.sleep(0)
        assert await asked(loader, B) == "b"
        assert not slow.done()
        loads.gate.set()
        assert await slow == "a"

    run(scenario)


def test_the_least_recently_used_model_leaves() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, 20, METRICS)
        for model in (A, B, A, C):
            await asked(loader, model)
        assert loader.loaded == [A.digest, C.digest]
        await asked(loader, A)

    run(scenario)
    assert loads.names == ["a", "b", "c"]


def test_a_model_in_use_stays_until_its_request_ends_and_the_newcomer_waits() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        async with loader.use(A) as served:
            newcomer = asyncio.create_task(asked(loader, B))
            for _ in range(5):
                await asyncio.sleep(0)
            assert served == "a"
            assert loads.names == ["a"]
        assert await newcomer == "b"
        assert loader.loaded == [B.digest]

    run(scenario)


def test_two_models_that_share_one_place_are_both_served() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        answers = await asyncio.gather(*(asked(loader, model) for model in [A, B] * 10))
        assert answers == ["a", "b"] * 10

    run(scenario)


def test_a_model_larger_than_the_bound_is_refused_with_both_sizes() -> None:
    async def scenario() -> None:
        loader = Loader(Loads(), 10, METRICS)
        with pytest.raises(ModelTooLarge, match=r"11 bytes.*at most 10 bytes"):
            await asked(loader, reference("large", size_bytes=11))

    run(scenario)


def test_a_failed_load_reaches_every_caller_and_is_tried_again() -> None:
    failures = [OSError("no disk")]

    def load(reference: ModelReference) -> str:
        if failures:
            raise failures.pop()
        return reference.model_id

    async def scenario() -> None:
        loader = Loader(load, 10, METRICS)
        first = await asyncio.gather(asked(loader, A), asked(loader, A), return_exceptions=True)
        assert [str(error) for error in first] == ["no disk", "no disk"]
        assert await asked(loader, A) == "a"
        assert await asked(loader, B) == "b"

    run(scenario)


def test_a_caller_that_gives_up_does_not_stop_the_load_for_others() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        impatient, patient = (asyncio.create_task(asked(loader, A)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        loads.gate.set()
        assert await patient == "a"
        assert impatient.cancelled()

    run(scenario)


def test_an_idle_model_is_unloaded_at_once_and_loaded_again_when_it_is_asked() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        await asked(loader, A)
        assert loader.unload(A.digest)
        assert (loader.loaded, loader.held_bytes) == ([], 0)
        assert not loader.unload(A.digest)
        assert await asked(loader, A) == "a"

    run(scenario)
    assert loads.names == ["a", "a"]


def test_unloading_waits_for_the_requests_under_way() -> None:
    async def scenario() -> None:
        loader = Loader(Loads(), 20, METRICS)
        async with loader.use(A):
            assert loader.unload(A.digest)
            assert loader.loaded == []
            assert await asked(loader, A) == "a"  # another load, beside the one that leaves
            assert loader.held_bytes == 20
        assert (loader.loaded, loader.held_bytes) == ([A.digest], 10)

    run(scenario)


def test_a_model_that_still_loads_is_unloaded_once_those_who_wait_are_answered() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        waiting = asyncio.create_task(asked(loader, A))
        await asyncio.sleep(0)
        assert loader.unload(A.digest)
        loads.gate.set()
        assert await waiting == "a"
        assert loader.held_bytes == 0

    run(scenario)


def test_a_load_that_nobody_waits_for_any_more_is_unloaded_when_it_ends() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, 10, METRICS)
        gone = asyncio.create_task(asked(loader, A))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        assert loader.unload(A.digest)
        loads.gate.set()
        assert await asked(loader, B) == "b"  # waits for the room that the other gives back
        assert loader.held_bytes == 10

    run(scenario)


def test_unloading_what_waits_for_room_does_not_hold_up_the_others() -> None:
    """One that has not even loaded will give no room back: a model in use must still be told to leave."""

    async def scenario() -> None:
        loader = Loader(Loads(), 10, METRICS)
        async with loader.use(A):
            waiting = asyncio.create_task(asked(loader, B))
            await asyncio.sleep(0)
            assert loader.unload(B.digest)
            busy = asyncio.create_task(_asked_without_pause(loader, A))
            await asyncio.sleep(0)
        assert await waiting == "b"
        busy.cancel()

    run(scenario)


async def _asked_without_pause(loader: Loader[str], model: ModelReference) -> None:
    while True:
        async with loader.use(model):
            await asyncio.sleep(0)


def test_pinned_models_stay_while_others_can_go() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, 20, METRICS)
        loader.pinned = frozenset({A.digest})
        for model in (A, B, C, B, C):
            await asked(loader, model)
        assert loader.loaded == [A.digest, C.digest]

    run(scenario)
    assert loads.names == ["a", "b", "c", "b", "c"]


def test_a_newcomer_waits_for_others_in_use_before_it_takes_the_place_of_a_pinned_model() -> None:
    async def scenario() -> None:
        loader = Loader(Loads(), 20, METRICS)
        loader.pinned = frozenset({A.digest})
        await asked(loader, A)
        async with loader.use(B):
            newcomer = asyncio.create_task(asked(loader, C))
            for _ in range(5):
                await asyncio.sleep(0)
            assert loader.loaded == [A.digest]  # the other leaves, and nobody else
        assert await newcomer == "c"
        assert loader.loaded == [A.digest, C.digest]

    run(scenario)


def test_where_nothing_else_can_go_a_pinned_model_does() -> None:
    async def scenario() -> None:
        loader = Loader(Loads(), 20, METRICS)
        loader.pinned = frozenset({A.digest, B.digest})
        await asked(loader, A)
        await asked(loader, B)
        assert await asked(loader, C) == "c"
        assert loader.loaded == [B.digest, C.digest]

    run(scenario)


def test_fifty_models_pass_through_the_room_of_ten() -> None:
    """At no time are more held than the bound, whoever asks for whatever at once."""
    held: list[int] = []
    references = [reference(f"m{number}") for number in range(50)]

    async def scenario() -> None:
        loader = Loader(lambda given: given.model_id, 100, METRICS)

        async def asks(offset: int) -> None:
            for step in range(100):
                model = references[(offset + step * 7) % 50]
                assert await asked(loader, model) == model.model_id
                held.append(loader.held_bytes)

        await asyncio.gather(*(asks(offset) for offset in range(12)))
        assert loader.held_bytes == 100

    run(scenario)
    assert max(held) <= 100


def test_loads_departures_and_bytes_are_told() -> None:
    metrics = new_metrics()
    failing = [True]

    def load(given: ModelReference) -> str:
        if given is C and failing.pop():
            raise OSError("no disk")
        return given.model_id

    async def scenario() -> None:
        loader = Loader(load, 10, metrics)
        for model in (A, B, A):
            await asked(loader, model)
        loader.unload(A.digest)
        with pytest.raises(OSError, match="no disk"):
            await asked(loader, C)

    run(scenario)
    figures = Figures.of(metrics.text().decode())
    assert [figures.get("model_loads_total", model=name, outcome="ok") for name in "abc"] == [2, 1, None]
    assert figures.get("model_loads_total", model="c", outcome="failed") == 1
    assert [figures.get("model_evictions_total", model=name) for name in "ab"] == [1, 1]
    assert figures.get("model_loaded_bytes", model="a") is None
    assert figures.get("replica_load_seconds_count") == 3
