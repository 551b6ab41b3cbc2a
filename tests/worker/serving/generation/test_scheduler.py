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
from worker.serving.generation.caching_decoder import CachedReading, CachingDecoder
from worker.serving.generation.memory import CacheMemory
from worker.serving.generation.meter import Unmetered
from worker.serving.generation.sampling import Sampler, Sampling, choose
from worker.serving.generation.scheduler import GenerationLimits, Scheduler, TokenRequest
from worker.serving.precision import cache_type, convert

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
    """Random, and its next token depends on all that stands before. What a simple network hands on to itself stays as
    it was drawn: larger, it would be chaotic, and the last digit of a sum would change all that follows."""
    module = CausalLanguageModel(body).eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "weight_hh" not in name:
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
    """Waits before each step until the test lets it go on; tells what it does; fails when told."""

    def __init__(self, model: CausalLanguageModel, *, gates_reading: bool = False) -> None:
        super().__init__(model)
        self.gates_reading = gates_reading
        self.steps = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.rows: list[int] = []
        self.done: list[str] = []
        self.heard: list[list[int]] = []
        self.failure: str | None = None
        self.most_bytes = 0

    def begin(self, num_tokens: int) -> CachedReading:
        return GatedReading(self, self._model, num_tokens)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        self.go("advance")
        self.rows.append(len(tokens))
        self.most_bytes = max(self.most_bytes, self.held_bytes)
        return super().advance(tokens)

    def go(self, what: str) -> None:
        if what == "advance" or self.gates_reading:
            self.entered.release()
            assert self.steps.acquire(timeout=DEADLINE_SECONDS)
        if self.failure == what:
            self.failure = None
            raise RuntimeError(f"no {what} is made")
        self.done.append(what)

    async def in_step(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=DEADLINE_SECONDS)


class GatedReading(CachedReading):
    def __init__(self, decoder: Gated, model: CausalLanguageModel, num_tokens: int) -> None:
        super().__init__(model, torch.float32, num_tokens)
        self._decoder = decoder

    def read(self, tokens: Sequence[int]) -> Tensor:
        self._decoder.go(f"read {len(tokens)}")
        self._decoder.heard.append([*tokens])
        return super().read(tokens)


def scheduler_of(
    device: Device,
    decoder: CachingDecoder,
    limits: GenerationLimits | None = None,
    end_tokens: frozenset[int] = frozenset(),
    limit_bytes: int = 1 << 30,
) -> Scheduler:
    return Scheduler(device, decoder, end_tokens, CacheMemory(device, limit_bytes), Unmetered(), limits=limits)


def test_concurrent_requests_get_what_each_would_alone(device: Device, model: CausalLanguageModel) -> None:
    scheduler = scheduler_of(device, CachingDecoder(model), end_tokens=frozenset({END}))

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
    scheduler = scheduler_of(device, CachingDecoder(model), GenerationLimits(rows=3), frozenset({END}))

    async def scenario() -> None:
        requests = [TokenRequest(PROMPTS[seed % 4], 15, seeded(seed)) for seed in range(12)]
        answers = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        for seed, answer in enumerate(answers):
            assert answer == expected(model, PROMPTS[seed % 4], 15, seeded(seed))

    run(scenario)


def test_requests_join_and_leave_between_steps(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = scheduler_of(device, decoder)

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
    scheduler = scheduler_of(device, decoder)

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
    scheduler = scheduler_of(device, decoder)

    async def scenario() -> None:
        decoder.failure = "advance"
        decoder.steps.release(20)
        requests = [TokenRequest(prompt, 5, greedy()) for prompt in PROMPTS]
        outcomes = await asyncio.gather(
            *(generated(scheduler, request) for request in requests), return_exceptions=True
        )
        assert [str(outcome) for outcome in outcomes] == ["no advance is made"] * 4
        again = await generated(scheduler, TokenRequest(PROMPTS[2], 5, greedy()))
        assert again == expected(model, PROMPTS[2], 5, greedy())

    run(scenario)


def test_a_prompt_that_fails_leaves_running_requests_alone(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = scheduler_of(device, decoder)

    async def scenario() -> None:
        running = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[0], 5, greedy())))
        await decoder.in_step()
        decoder.failure = "read 1"
        failing = asyncio.create_task(generated(scheduler, TokenRequest(PROMPTS[1], 5, greedy())))
        await asyncio.sleep(0)
        decoder.steps.release(20)
        with pytest.raises(RuntimeError, match="no read 1 is made"):
            await failing
        assert await running == expected(model, PROMPTS[0], 5, greedy())

    run(scenario)


def test_who_finds_the_queue_full_is_turned_away(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    scheduler = scheduler_of(device, decoder, GenerationLimits(rows=1, waiting=1))

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


def test_running_requests_go_on_between_the_chunks_of_a_long_prompt(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model, gates_reading=True)
    scheduler = scheduler_of(device, decoder, GenerationLimits(prompt_tokens=8, chunk_tokens=4))
    long = [*range(1, 31)]

    async def scenario() -> None:
        decoder.steps.release()  # the first prompt
        running = asyncio.create_task(generated(scheduler, TokenRequest([1], 9, greedy())))
        await decoder.in_step()
        await decoder.in_step()
        joining = [
            asyncio.create_task(generated(scheduler, TokenRequest(prompt, 3, greedy()))) for prompt in (long, [4])
        ]
        await asyncio.sleep(0)
        decoder.steps.release(99)
        assert await running == expected(model, [1], 9, greedy())
        assert [await task for task in joining] == [expected(model, prompt, 3, greedy()) for prompt in (long, [4])]

    run(scenario)
    told = "".join({"advance": "."}.get(each, each.removeprefix("read ")) for each in decoder.done)
    # Four tokens of each in turn, and about eight a step: the short prompt does not wait for all of the long one.
    assert told.startswith("1.414.44.44.42."), told


@pytest.mark.parametrize("gone", ["cancelled", "failed"])
def test_a_prompt_that_ends_half_read_touches_nobody(device: Device, model: CausalLanguageModel, gone: str) -> None:
    decoder = Gated(model, gates_reading=True)
    scheduler = scheduler_of(device, decoder, GenerationLimits(prompt_tokens=4, chunk_tokens=4))

    async def scenario() -> None:
        decoder.steps.release()
        running = asyncio.create_task(generated(scheduler, TokenRequest([1], 8, greedy())))
        await decoder.in_step()
        await decoder.in_step()
        ending = asyncio.create_task(generated(scheduler, TokenRequest([*range(1, 31)], 3, greedy())))
        await asyncio.sleep(0)
        decoder.steps.release(2)  # the row that runs, and four tokens of thirty
        await decoder.in_step()
        await decoder.in_step()
        if gone == "cancelled":
            ending.cancel()
        else:
            decoder.failure = "read 4"
        decoder.steps.release(99)
        [outcome] = await asyncio.gather(ending, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError if gone == "cancelled" else RuntimeError)
        assert await running == expected(model, [1], 8, greedy())

    run(scenario)
    assert decoder.done.count("read 4") <= 2
    assert max(decoder.rows) == 1


def test_a_seed_gives_the_same_tokens_alone_and_amid_fifteen_others(device: Device, model: CausalLanguageModel) -> None:
    check_amid_others(device, model)


def test_so_it_does_with_a_recurrent_state(device: Device, recurrent_model: CausalLanguageModel) -> None:
    check_amid_others(device, recurrent_model)


def test_so_it_does_in_bfloat16(device: Device) -> None:
    torch.manual_seed(0)
    module = sharp(Transformer(TransformerArchitecture(num_layers=2, width=32, num_heads=4), VOCABULARY))
    convert(module, "bfloat16", min_weights=1)
    check_amid_others(device, module)


def check_amid_others(device: Device, model: CausalLanguageModel) -> None:
    """Sixteen requests of other settings and lengths, of which one is asked for alone, too."""
    settings = [
        Sampling(0.5 + seed / 8, top_k=seed or None, top_p=0.9 if seed % 2 else None, repetition_penalty=1 + seed / 50)
        for seed in range(16)
    ]

    def request(seed: int) -> TokenRequest:
        prompt = PROMPTS[seed % 4]
        return TokenRequest(prompt, 10 + seed, Sampler(settings[seed], seed, prompt))

    async def answers(seeds: Sequence[int]) -> list[list[int]]:
        scheduler = scheduler_of(device, CachingDecoder(model, cache_type(model)), GenerationLimits(rows=7))
        return await asyncio.gather(*(generated(scheduler, request(seed)) for seed in seeds))

    async def scenario() -> None:
        together = await answers(range(16))
        for seed in (0, 3, 8, 15):
            assert await answers([seed]) == [together[seed]]

    run(scenario)


def test_the_memory_of_the_cache_makes_requests_wait_oldest_first(device: Device, model: CausalLanguageModel) -> None:
    decoder = Gated(model)
    two_rows = decoder.bytes_for(2, 64) + 2 * decoder.bytes_for(1, 1)
    scheduler = scheduler_of(device, decoder, limit_bytes=two_rows)
    prompts = [[number] for number in range(1, 6)]

    async def scenario() -> None:
        requests = [TokenRequest(prompt, 4, greedy()) for prompt in prompts]
        tasks = [asyncio.create_task(generated(scheduler, request)) for request in requests]
        await asyncio.sleep(0)
        decoder.steps.release(99)
        assert [len(answer) for answer in await asyncio.gather(*tasks)] == [4] * 5

    run(scenario)
    assert decoder.heard == prompts
    assert max(decoder.rows) == 2
    assert decoder.most_bytes <= two_rows


def test_models_share_the_memory_and_none_is_starved(device: Device, model: CausalLanguageModel) -> None:
    """A busy model has one place in line, however much it is asked for."""
    decoders = [Gated(model), Gated(model)]
    one_row = decoders[0].bytes_for(1, 64) + decoders[0].bytes_for(1, 1)
    memory = CacheMemory(device, one_row)
    busy, other = (Scheduler(device, decoder, frozenset(), memory, Unmetered()) for decoder in decoders)
    ended: list[str] = []

    async def one(scheduler: Scheduler, name: str) -> None:
        await generated(scheduler, TokenRequest(PROMPTS[1], 3, greedy()))
        ended.append(name)

    async def scenario() -> None:
        tasks = [asyncio.create_task(one(busy, "busy")) for _ in range(3)]
        await decoders[0].in_step()
        tasks.append(asyncio.create_task(one(other, "other")))
        left = asyncio.create_task(one(other, "left"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait({left})
        for decoder in decoders:
            decoder.steps.release(99)
        await asyncio.gather(*tasks)

    run(scenario)
    assert sorted(ended) == ["busy", "busy", "busy", "other"]
    assert ended.index("other") < 3
