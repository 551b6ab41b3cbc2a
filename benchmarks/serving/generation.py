"""Tokens per second and time to the first token: our generation against `transformers.generate`, on the same folder.

python -m benchmarks.serving.generation [--rounds 5] [--new-tokens 128] [--threads 2] [--streams 1 16] [--write]

A Llama of 12 million parameters (six layers, width 384, a vocabulary of 4,096, tied) with random weights, as our export
writes it; prompts of 32 tokens, the likeliest token each time. Ours runs by its scheduler in this process, and
through the api over HTTP, streamed; `transformers` runs its batched `generate`, `ctranslate2` (where it is installed)
its own. All take turns in each round, so that a busy neighbour hurts all alike: quote the ratios, which are those of
medians, to `transformers` in float32.
"""

import argparse
import asyncio
import importlib
import importlib.util
import json
import os
import ssl
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import torch

from app.contract.inference import Precision
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import TransformerArchitecture
from app.contract.specs.tokenizers import BpeTokenizer
from benchmarks.document import write_section
from benchmarks.serving.service import service
from worker.data.tokenizers import learn_tokenizer, load_tokenizer, special_tokens
from worker.export import export_model
from worker.models.building import build_module
from worker.models.language_model import CausalLanguageModel
from worker.serving.device import Device
from worker.serving.generation import CacheMemory, GenerativeModel
from worker.serving.generation.meter import Unmetered
from worker.serving.generation.sampling import Sampler, Sampling
from worker.serving.generation.scheduler import Scheduler, TokenRequest
from worker.serving.predictors import load_predictor

BASE = "transformers float32"
PROMPT_TOKENS = 32
#: Made once, and not by each client: it takes longer than a first token.
TLS = ssl.create_default_context()
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
SHAPE = TransformerArchitecture(num_layers=6, width=384, num_heads=6, context_length=512)


class Measured(NamedTuple):
    tokens_per_second: float
    first_token_seconds: float


@dataclass(frozen=True)
class Work:
    prompts: Sequence[Sequence[int]]
    new_tokens: int


Engine = Callable[[Work], Measured]
MakeEngine = Callable[[], AbstractContextManager[Engine]]


def make_model(folder: Path) -> Path:
    folder.mkdir()
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path().glob("**/*.md")) if ".venv" not in path.parts]
    tokenizer = learn_tokenizer(texts, BpeTokenizer(vocab_size=4_096))
    described = ModelDescription(
        kind="pretrain",
        method="causal_language_model",
        body=BodyDescription(
            architecture=SHAPE,
            input=InputKind.TEXT,
            granularity=Granularity.TOKENS,
            vocab_size=tokenizer.get_vocab_size(),
        ),
        num_parameters=1,
    )
    torch.manual_seed(0)
    module = build_module(described)
    assert isinstance(module, CausalLanguageModel)
    with torch.no_grad():  # of no special token, so that no text ends before the others
        module.lm_head.weight[special_tokens(tokenizer)] = 0.0
    export_model(folder, module, described, tokenizer)
    return folder


@contextmanager
def transformers_engine(folder: Path, dtype: torch.dtype) -> Iterator[Engine]:
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  where it is wanted: it takes seconds

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

    def run(work: Work) -> Measured:
        firsts: list[float] = []

        def noted(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            firsts.append(time.perf_counter())
            return scores

        prompts = torch.tensor(work.prompts)
        start = time.perf_counter()
        written = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=False,
            max_new_tokens=work.new_tokens,
            eos_token_id=[],
            pad_token_id=0,
            logits_processor=[noted],
        )
        seconds = time.perf_counter() - start
        assert written.shape == (len(prompts), prompts.shape[1] + work.new_tokens)
        return Measured(len(prompts) * work.new_tokens / seconds, firsts[0] - start)

    yield run


@contextmanager
def ctranslate2_engine(folder: Path, compute_type: str, threads: int) -> Iterator[Engine]:
    ctranslate2: Any = importlib.import_module("ctranslate2")
    target = str(folder.parent / f"ctranslate2-{compute_type}")
    ctranslate2.converters.TransformersConverter(str(folder)).convert(target, quantization=compute_type)
    generator = ctranslate2.Generator(target, compute_type=compute_type, intra_threads=threads)
    tokenizer = load_tokenizer(folder / "tokenizer.json")

    def run(work: Work) -> Measured:
        prompts = [[tokenizer.id_to_token(token) for token in prompt] for prompt in work.prompts]
        firsts: list[float] = []

        def noted(_: Any) -> bool:
            firsts.append(time.perf_counter())
            return False

        start = time.perf_counter()
        generator.generate_batch(
            prompts,
            max_length=work.new_tokens,
            min_length=work.new_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=noted,
        )
        return Measured(len(prompts) * work.new_tokens / (time.perf_counter() - start), firsts[0] - start)

    yield run


def together(arrivals: Callable[[int], AsyncIterator[object]], work: Work) -> Measured:
    """All streams at once. `arrivals`: something for each token of the stream of that number."""

    async def stream(number: int) -> float:
        first = 0.0
        async for _ in arrivals(number):
            first = first or time.perf_counter()
        return first

    async def all_of_them() -> list[float]:
        return await asyncio.gather(*map(stream, range(len(work.prompts))))

    start = time.perf_counter()
    firsts = asyncio.run(all_of_them())
    seconds = time.perf_counter() - start
    return Measured(len(firsts) * work.new_tokens / seconds, statistics.median(firsts) - start)


@contextmanager
def scheduler_engine(folder: Path, precision: Precision, threads: int) -> Iterator[Engine]:
    device = Device(threads)
    generate = load_predictor(folder, precision).generate
    assert isinstance(generate, GenerativeModel)
    scheduler = Scheduler(device, generate.decoder, frozenset(), CacheMemory(device, 1 << 30), Unmetered())

    def run(work: Work) -> Measured:
        def arrivals(number: int) -> AsyncIterator[object]:
            return scheduler.tokens(
                TokenRequest(work.prompts[number], work.new_tokens, Sampler(Sampling(temperature=0.0), seed=None))
            )

        return together(arrivals, work)

    try:
        yield run
    finally:
        device.close()


@contextmanager
def service_engine(folder: Path, model: Path, precision: Precision, threads: int) -> Iterator[Engine]:
    tokenizer = load_tokenizer(model / "tokenizer.json")
    with service(folder, inference_precision=precision, inference_threads=threads) as place:
        place.add(model, "model_bench")
        place.start_replica()
        url = f"{place.api.url}/v1/models/model_bench/generate"

        def run(work: Work) -> Measured:
            async def arrivals(number: int) -> AsyncIterator[object]:
                prompt = tokenizer.decode([*work.prompts[number][1:]], skip_special_tokens=False)
                parameters = {"max_tokens": work.new_tokens, "temperature": 0.0}
                body = {"prompt": prompt, "parameters": parameters, "stream": True}
                last = ""
                async with (
                    httpx2.AsyncClient(timeout=600, verify=TLS) as client,
                    client.stream("POST", url, json=body) as response,
                ):
                    async for line in response.aiter_lines():
                        if line.startswith("data: "):
                            last = line
                            yield line
                assert json.loads(last.removeprefix("data: "))["num_tokens"] == work.new_tokens, last

            return together(arrivals, work)

        yield run


def engines(folder: Path, threads: int) -> dict[str, MakeEngine]:
    """By name, each made where it is wanted."""
    model = make_model(folder / "model")
    found: dict[str, MakeEngine] = {
        BASE: partial(transformers_engine, model, torch.float32),
        "transformers bfloat16": partial(transformers_engine, model, torch.bfloat16),
    }
    for precision in PRECISIONS:
        found[f"scheduler {precision}"] = partial(scheduler_engine, model, precision, threads)
        found[f"HTTP {precision}"] = partial(service_engine, folder / precision, model, precision, threads)
    if importlib.util.find_spec("ctranslate2"):
        for compute_type in ("float32", "int8"):
            found[f"ctranslate2 {compute_type}"] = partial(ctranslate2_engine, model, compute_type, threads)
    else:
        print("ctranslate2 is not installed: left out")
    return found


def measure(found: dict[str, Engine], work: Work, rounds: int) -> dict[str, list[Measured]]:
    """The first round warms up, and does not count."""
    told: dict[str, list[Measured]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name, engine in found.items():
            measured = engine(work)
            if number:
                told[name].append(measured)
    return told


def table(told: dict[str, list[Measured]]) -> Iterator[str]:
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in told.items()
    }
    base, _ = medians[BASE]
    yield "| engine | tokens/s (range) | ratio | first token, ms |\n|---|--:|--:|--:|"
    for name, (rate, first) in medians.items():
        rates = [each.tokens_per_second for each in told[name]]
        spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
        yield f"| {name} | {rate:,.0f} ({spread}) | {rate / base:.2f} | {first * 1e3:,.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--only", default="", help=f"engines whose names hold this, beside {BASE}")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        wanted = {
            name: make
            for name, make in engines(Path(folder), options.threads).items()
            if options.only in name or name == BASE
        }
        kept = {name: stack.enter_context(make()) for name, make in wanted.items()}
        random = torch.Generator().manual_seed(0)
        tables: list[str] = []
        for streams in options.streams:
            prompts = torch.randint(300, 2_000, (streams, PROMPT_TOKENS), generator=random)
            work = Work(prompts.tolist(), options.new_tokens)
            title = f"{streams} streams, {options.new_tokens} new tokens, {options.threads} threads"
            tables.append("\n".join([f"{title}:\n", *table(measure(kept, work, options.rounds))]))
            print(f"\n{tables[-1]}", flush=True)
    if options.write:
        write_section("generation", "\n\n".join(tables))


if __name__ == "__main__":
    main()
