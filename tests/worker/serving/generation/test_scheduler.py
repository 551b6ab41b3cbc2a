import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
import torch
from torch import Tensor

from app.contract.errors import Overloaded
from app.contract.specs.architectures import LstmArchitecture, RnnArchitecture, TransformerArchitecture
from worker.models.language_model import CausalBody, CausalLanguageModel
from worker.models.recurrent import Recurrent
from worker.models.transformer import Transformer
from worker.serving.device import Device
from worker.serving.generation.caching_decoder import CachingDecoder
from worker.serving.generation.sampling import Sampler, Sampling, choose
from worker.serving.generation.scheduler import GenerationLimits, Scheduler, TokenRequest

DEADLINE_SECONDS = 20
VOCABULARY = 50
END = 0
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [11, 12]]


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device(num_threads=1)
    yield device
    device.close()


def sharp(body: CausalBody[Any]) -> CausalLanguageModel:
    """Random, and its next token depends on all that stands before."""
    module = CausalLanguageModel(body).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(8.0)
    return module


@pytest.fixture(scope="module")
def model() -> CausalLanguageModel:
    torch.manual_seed(0)
    return sharp(Transformer(TransformerArchitecture(num_layers=2, width=32, num_heads=4), VOCABULARY))


@pytest.fixture(scope="module", params=[LstmArchitecture, RnnArchitecture])
def recurrent_model(request: pytest.FixtureRequest) -> CausalLanguageModel:
    torch.manual_seed(0)
    return sharp(Recurrent(request.param(num_layers=2, width=32), VOCABULARY))


def greedy() -> Sampler:
    return Sampler(Sampling(temperature=0.0), seed=None)


def seeded(seed: int) -> Sampler:
    return Sampler(Sampling(temperature=1.5, top_k=20, top_p=0.95), seed)


@torch.inference_mode()
def expected(model: CausalLanguageModel, prompt: Sequence[int], max_tokens: int, sampler: Sampler) -> list[int]:
    """The oracle: no cache, no batch, the whole sequence read again for each token."""
    tokens: list[int] = []
    while len(tokens) < max_tokens:
        [token] = choose([sampler], model(torch.tensor([[*prompt, *tokens]]))[:, -1])
        if token == END:
            break
        tokens.append(token)
    return tokens


async def generated(scheduler: Scheduler, request: TokenRequest) -> list[int]:
    async with aclosing(scheduler.tokens(request)) as tokens:
        return [token.id async for token in tokens]


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await scenario()

    asyncio.run(bounded())


class Gated(CachingDecoder):
    """Waits before each step until the test lets it go on; counts rows; fails when told."""

    def __init__(self, model: CausalLanguageModel) -> None:
        super().__init__(model)
        self.steps = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.rows: list[int] = []
        self.failure: str | None = None

    def prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        if self.failure == "prefill":
            self.failure = None
            raise RuntimeError("no prompt is read")
        return super().prefill(prompts)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        self.entered.release()
        assert self.steps.acquire(timeout=DEADLINE_SECONDS)
        self.rows.append(len(tokens))
        if self.failure == "advance":
            self.failure = None
            raise RuntimeError("no step is made")
        return super().advance(tokens)

    async def in_step(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=DEADLINE_SECONDS)


def test_concurrent_requests_get_what_each_would_alone(device: Device, model: CausalLanguageModel) -> None:
    scheduler = Scheduler(device, CachingDecoder(model), frozenset({END}))

    async def scenario() -> None:
        requests = [TokenRequest(prompt, 20, greedy()) for prompt in PROMPTS]
        answers = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        for prompt, request, answer in zip(PROMPTS, requests, answers, strict=True):
            assert answer == expected(model, prompt, 20, greedy())
            assert request.finish_reason == ("length" if len(answer) == 20 else "stop")

    run(scenario)


def test_a_seed_gives_the_same_tokens_whatever_else_runs(device: Device, model: CausalLanguageModel) -> None:
    check_seeds(device, model)


def test_a_recurrent_state_serves_as_well_as_a_cache(device: Device, recurrent_model: CausalLanguageModel) -> None:
    check_seeds(device, recurrent_model)


def check_seeds(device: Device, model: CausalLanguageModel) -> None:
    """Twelve requests of several lengths, three at a time: each joins and leaves beside others."""
    scheduler = Scheduler(device, CachingDecoder(model), frozenset({END}), GenerationLimits(rows=3))

    async def scenario() -> None:
        requests = [TokenRequest(PROMPTS[seed % 4], 15, seeded(seed)) for seed in range(12)]
        answers = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        for seed, answer in enumerate(answers):
            assert answer == expected(model, PROMPTS[seed % 4], 15, seeded(seed))

    run(scenario)


def test_requests_join_and_leave_between_steps(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset())

    async def scenario() -> None:
        long = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[0], 6, greedy())))
        await decoder.in_step()
        short = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[1], 2, greedy())))
        await asyncio.sleep(0)
        decoder.steps.release(20)
        assert len(await short) == 2
        assert await long == expected(model, PROMPTS[0], 6, greedy())

    run(scenario)
    assert decoder.rows == [1, 2, 1, 1, 1]


def test_a_caller_that_leaves_frees_its_place(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset())

    async def scenario() -> None:
        leaving = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[0], 40, greedy())))
        await decoder.in_step()
        staying = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[1], 4, greedy())))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait({leaving})
        decoder.steps.release(20)
        assert await staying == expected(model, PROMPTS[1], 4, greedy())

    run(scenario)
    assert decoder.rows == [1, 1, 1, 1]


def test_a_failing_step_reaches_every_running_request_and_the_next_starts_afresh(
    device: Device, model: CausalLanguageModel
) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset())

    async def scenario() -> None:
        decoder.failure = "advance"
        decoder.steps.release(20)
        requests = [TokenRequest(prompt, 5, greedy()) for prompt in PROMPTS]
        outcomes = await asyncio.gather(
            *(generated(scheduler, request) for request in requests), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == ["no step is made"] * 4
        again = await generated(scheduler, TokenRequest(PROMPTS[2], 5, greedy()))
        assert again == expected(model, PROMPTS[2], 5, greedy())

    run(scenario)


def test_a_prompt_that_fails_leaves_running_requests_alone(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset())

    async def scenario() -> None:
        running = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[0], 5, greedy())))
        await decoder.in_step()
        decoder.failure = "prefill"
        failing = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[1], 5, greedy())))
        await asyncio.sleep(0)
        decoder.steps.release(20)
        with pytest.raises(RuntimeError, match="no prompt is read"):
            await failing
        assert await running == expected(model, PROMPTS[0], 5, greedy())

    run(scenario)


def test_who_finds_the_queue_full_is_turned_away(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset(), GenerationLimits(rows=1, waiting=1))

    async def scenario() -> None:
        running = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[0], 3, greedy())))
        await decoder.in_step()
        waiting = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[1], 3, greedy())))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refusal:
            await generated(scheduler, TokenRequest(PROMPTS[2], 3, greedy()))
        assert refusal.value.retry_after_seconds
        decoder.steps.release(20)
        assert await running == expected(model, PROMPTS[0], 3, greedy())
        assert await waiting == expected(model, PROMPTS[1], 3, greedy())

    run(scenario)


def test_the_bound_on_cached_tokens_makes_requests_wait(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = Scheduler(device, decoder, frozenset(), GenerationLimits(tokens=10))
    decoder.steps.release(50)

    async def scenario() -> None:
        requests = [TokenRequest(PROMPTS[1], 4, greedy()) for _ in range(5)]  # five tokens each at their longest
        answers = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        assert answers == [expected(model, PROMPTS[1], 4, greedy())] * 5

    run(scenario)
    assert max(decoder.rows) <= 2
