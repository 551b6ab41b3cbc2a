import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from app.contract.errors import Overloaded
from app.contract.inference import Operation
from tests.worker.serving.figures import Figures, new_metrics
from worker.serving.batcher import Batcher, BatchLimits, Row
from worker.serving.device import Device

DEADLINE_SECONDS = 10
METER = new_metrics().model("model_a").of(Operation.PREDICT)


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(num_threads=1)
    yield device
    device.close()


class Core:
    """Doubles numbers. Its first batch waits until `gate` opens, so that a test decides what arrives meanwhile."""

    def __init__(self, *, gated: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        if not gated:
            self.gate.set()

    def __call__(self, values: Sequence[Any]) -> list[int]:
        self.batches.append(list(values))
        self.entered.set()
        assert self.gate.wait(DEADLINE_SECONDS)
        if -1 in values:
            raise ValueError("minus one")
        return [2 * value for value in values]

    async def is_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, DEADLINE_SECONDS)


def rows(*values: int, length: int = 1) -> list[Row]:
    return [Row(value, length) for value in values]


def run(scenario: Callable[[], Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await scenario()

    return asyncio.run(bounded())


def test_results_come_in_the_order_of_the_rows_whatever_their_lengths(device: Device) -> None:
    batcher = Batcher(device, Core(), BatchLimits(rows=2), METER)

    async def scenario() -> list[Any]:
        return await batcher.run([Row(1, 30), Row(2, 10), Row(3, 20), Row(4, 40)])

    assert run(scenario) == [2, 4, 6, 8]


def test_what_arrives_during_a_batch_makes_the_next_one(device: Device) -> None:
    core = Core(gated=True)
    batcher = Batcher(device, core, BatchLimits(), METER)

    async def scenario() -> list[list[Any]]:
        first = asyncio.create_task(batcher.run(rows(1)))
        await core.is_entered()
        others = [asyncio.create_task(batcher.run(rows(value))) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        core.gate.set()
        return await asyncio.gather(first, *others)

    assert run(scenario) == [[2], [4], [6], [8]]
    assert core.batches == [[1], [2, 3, 4]]


def test_a_window_is_sorted_by_length_and_cut_at_rows_and_padded_tokens(device: Device) -> None:
    core = Core()
    batcher = Batcher(device, core, BatchLimits(rows=3, tokens=1_200), METER)

    async def scenario() -> None:
        lengths = [400, 300, 200, 390, 310, 210, 1]
        await batcher.run([Row(length, length) for length in lengths])

    run(scenario)
    assert [sorted(batch) for batch in core.batches] == [[1, 200], [210, 300, 310], [390, 400]]


def test_a_failing_row_fails_its_own_caller_alone(device: Device) -> None:
    core = Core(gated=True)
    batcher = Batcher(device, core, BatchLimits(), METER)

    async def scenario() -> list[Any]:
        first = asyncio.create_task(batcher.run(rows(0)))
        await core.is_entered()
        others = [asyncio.create_task(batcher.run(rows(*values))) for values in ((1, 2), (-1, 3), (4,))]
        await asyncio.sleep(0)
        core.gate.set()
        outcomes: list[Any] = await asyncio.gather(first, *others, return_exceptions=True)
        return outcomes

    zero, one, guilty, four = run(scenario)
    assert (zero, one, four) == ([0], [2, 4], [8])
    assert isinstance(guilty, ValueError)


def test_a_batcher_serves_on_after_a_failure(device: Device) -> None:
    batcher = Batcher(device, Core(), BatchLimits(), METER)

    async def scenario() -> Any:
        with pytest.raises(ValueError, match="minus one"):
            await batcher.run(rows(-1))
        return await batcher.run(rows(5))

    assert run(scenario) == [10]


def test_a_full_queue_turns_callers_away_and_an_empty_one_takes_any_call(device: Device) -> None:
    core = Core(gated=True)
    batcher = Batcher(device, core, BatchLimits(waiting_rows=4, waiting_tokens=100), METER)

    async def scenario() -> None:
        first = asyncio.create_task(batcher.run(rows(*range(6))))
        await core.is_entered()
        waiting = asyncio.create_task(batcher.run(rows(1, 2, 3, length=20)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as too_many_rows:
            await batcher.run(rows(4, 5))
        with pytest.raises(Overloaded):
            await batcher.run(rows(4, length=41))
        assert too_many_rows.value.retry_after_seconds
        core.gate.set()
        assert await first == [0, 2, 4, 6, 8, 10]
        assert await waiting == [2, 4, 6]

    run(scenario)


def test_rows_of_a_cancelled_caller_are_never_computed(device: Device) -> None:
    core = Core(gated=True)
    batcher = Batcher(device, core, BatchLimits(), METER)

    async def scenario() -> None:
        first = asyncio.create_task(batcher.run(rows(1)))
        await core.is_entered()
        gone = asyncio.create_task(batcher.run(rows(7)))
        stays = asyncio.create_task(batcher.run(rows(8)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        core.gate.set()
        assert await first == [2]
        assert await stays == [16]

    run(scenario)
    assert core.batches == [[1], [8]]


def test_two_models_take_turns_on_the_device(device: Device) -> None:
    order: list[str] = []
    gate = threading.Event()

    def core(name: str) -> Callable[[Sequence[Any]], list[Any]]:
        def compute(values: Sequence[Any]) -> list[Any]:
            assert gate.wait(DEADLINE_SECONDS)
            order.append(name)
            return list(values)

        return compute

    limits = BatchLimits(rows=1)
    first, second = Batcher(device, core("a"), limits, METER), Batcher(device, core("b"), limits, METER)

    async def scenario() -> None:
        calls = [asyncio.create_task(batcher.run(rows(1, 2, 3))) for batcher in (first, second)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*calls)

    run(scenario)
    assert order == ["a", "b"] * 3


def test_batches_waits_and_computing_are_told(device: Device) -> None:
    metrics, core = new_metrics(), Core(gated=True)
    batcher = Batcher(device, core, BatchLimits(rows=4), metrics.model("model_a").of(Operation.PREDICT))

    async def scenario() -> None:
        first = asyncio.create_task(batcher.run(rows(1)))
        await core.is_entered()
        others = [asyncio.create_task(batcher.run(rows(*values))) for values in ((2, 3), (4, 5, 6))]
        await asyncio.sleep(0)
        core.gate.set()
        await asyncio.gather(first, *others)

    run(scenario)
    figures = Figures.of(metrics.text().decode())
    labels = {"model": "model_a", "operation": "predict"}
    assert core.batches == [[1], [2, 3, 4, 5], [6]]
    assert figures.get("model_batch_rows_count", **labels) == 3
    assert figures.get("model_batch_rows_sum", **labels) == 6
    assert figures.get("model_batch_rows_bucket", le="2.0", **labels) == 2
    assert figures.get("model_compute_seconds_count", **labels) == 3
    assert figures.get("model_queue_seconds_count", **labels) == 3
