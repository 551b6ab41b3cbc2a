import asyncio
import hashlib
import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from worker.serving.errors import ModelTooLarge
from worker.serving.loader import Loader

DEADLINE_SECONDS = 10


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
        loader = Loader(loads, limit_bytes=100)
        requests = [asyncio.create_task(asked(loader, A)) for _ in range(5)]
        await asyncio.sleep(0)
        loads.gate.set()
        assert await asyncio.gather(*requests) == ["a"] * 5

    run(scenario)
    assert loads.names == ["a"]


def test_loading_one_model_does_not_block_another() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, limit_bytes=100)
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
        loader = Loader(loads, limit_bytes=20)
        for model in (A, B, A, C):
            await asked(loader, model)
        assert loader.loaded == [A.digest, C.digest]
        await asked(loader, A)

    run(scenario)
    assert loads.names == ["a", "b", "c"]


def test_a_model_in_use_stays_until_its_request_ends_and_the_newcomer_waits() -> None:
    loads = Loads()

    async def scenario() -> None:
        loader = Loader(loads, limit_bytes=10)
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
        loader = Loader(loads, limit_bytes=10)
        answers = await asyncio.gather(*(asked(loader, model) for model in [A, B] * 10))
        assert answers == ["a", "b"] * 10

    run(scenario)


def test_a_model_larger_than_the_bound_is_refused_with_both_sizes() -> None:
    async def scenario() -> None:
        loader = Loader(Loads(), limit_bytes=10)
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
        loader = Loader(load, limit_bytes=10)
        first = await asyncio.gather(asked(loader, A), asked(loader, A), return_exceptions=True)
        assert [str(error) for error in first] == ["no disk", "no disk"]
        assert await asked(loader, A) == "a"
        assert await asked(loader, B) == "b"

    run(scenario)


def test_a_caller_that_gives_up_does_not_stop_the_load_for_others() -> None:
    loads = Loads(held="a")

    async def scenario() -> None:
        loader = Loader(loads, limit_bytes=10)
        impatient, patient = (asyncio.create_task(asked(loader, A)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        loads.gate.set()
        assert await patient == "a"
        assert impatient.cancelled()

    run(scenario)
