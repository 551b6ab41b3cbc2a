"""Mixed traffic at 80 % of what the service can do, for as long as you like: no error, and memory that stays flat.

python -m benchmarks.serving.soak [--minutes 20] [--share 0.8] [--seed 0] [--write]

An api and a replica with one thread, as processes of their own. First as many requests as 16 clients get through in
`CAPACITY_SECONDS` tell the capacity for this mix; then requests come at the wanted share of it, at random moments,
whether or not those before them are answered. Some clients go away in the middle of their answer. The memory told is
the resident set of each process; its slope is that of a line through the second half, when all is warm.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from app.contract.specs.architectures import TransformerArchitecture
from benchmarks.document import write_section
from benchmarks.serving.service import Service, service
from tests.worker.serving import models

CAPACITY_SECONDS = 10.0
CAPACITY_CLIENTS = 16
SAMPLE_SECONDS = 2.0
LONGER_TEXT = models.TEXT_BODY | {
    "architecture": TransformerArchitecture(num_layers=2, width=64, num_heads=4, context_length=128)
}
TEXTS = ("the quick brown fox", "the lazy dog", "naïve Zoë counts 東京 twice", "jumps over the lazy dog and the fox")
#: How often each is asked for, of a hundred.
MIX = {"predict_text": 30, "predict_features": 25, "embed": 15, "generate": 12, "stream": 12, "leave": 6}


class Refused(Exception):
    """An answer that is none."""


@dataclass
class Traffic:
    """`seconds` by kind of request; `errors` are counted by what was said."""

    http: httpx2.AsyncClient
    chooser: random.Random
    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)

    @classmethod
    def drawn(cls, http: httpx2.AsyncClient, seed: int) -> "Traffic":
        return cls(http, random.Random(seed))  # noqa: S311  no secret

    async def one(self) -> None:
        [kind] = self.chooser.choices(list(MIX), list(MIX.values()))
        began_at = time.perf_counter()
        try:
            await self._kinds()[kind]()
        except (Refused, httpx2.HTTPError) as error:
            self.errors[f"{kind}: {error or type(error).__name__}"[:200]] += 1
        else:
            self.seconds[kind].append(time.perf_counter() - began_at)

    def _kinds(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "predict_text": lambda: self._post("model_judge/predict", {"inputs": self._texts()}),
            "predict_features": lambda: self._post("model_regressor/predict", {"inputs": [[1, 2, 3, 4]]}),
            "embed": lambda: self._post("model_masked/embed", {"inputs": self._texts()}),
            "generate": lambda: self._post("model_writer/generate", self._prompt()),
            "stream": self._stream,
            "leave": self._leave,
        }

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = await self.http.post(f"/v1/models/{path}", json=body)
        if answer.status_code != 200:
            raise Refused(answer.text)

    async def _stream(self) -> None:
        async with self._streaming() as answer:
            text = (await answer.aread()).decode()
        if answer.status_code != 200 or "event: error" in text or "finish_reason" not in text:
            raise Refused(text)

    async def _leave(self) -> None:
        """A client that has seen enough after the first piece."""
        async with self._streaming() as answer:
            if answer.status_code != 200:
                raise Refused((await answer.aread()).decode())
            async for _ in answer.aiter_bytes():
                break

    def _streaming(self) -> Any:
        return self.http.stream("POST", "/v1/models/model_writer/generate", json=self._prompt() | {"stream": True})

    def _texts(self) -> list[str]:
        return self.chooser.choices(TEXTS, k=self.chooser.randint(1, 4))

    def _prompt(self) -> dict[str, Any]:
        tokens = self.chooser.randint(8, 64)
        return {"prompt": self.chooser.choice(TEXTS), "parameters": {"max_tokens": tokens, "seed": 1}}


@dataclass
class Memory:
    """Resident bytes of processes over time."""

    pids: dict[str, int]
    samples: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    async def watch(self) -> None:
        while True:
            for name, pid in self.pids.items():
                self.samples.setdefault(name, []).append((time.monotonic(), resident_bytes(pid)))
            await asyncio.sleep(SAMPLE_SECONDS)

    def told(self) -> Iterator[str]:
        yield "\n| process | start, MiB | half way, MiB | end, MiB | slope of the second half, MiB an hour |"
        yield "|---|--:|--:|--:|--:|"
        for name, samples in self.samples.items():
            second_half = samples[len(samples) // 2 :]
            marks = (samples[0], second_half[0], samples[-1])
            slope, _ = statistics.linear_regression(*zip(*second_half, strict=True))
            cells = [f"{size / 2**20:.1f}" for _, size in marks]
            yield f"| {name} | {' | '.join(cells)} | {slope * 3600 / 2**20:+.1f} |"


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


async def capacity(traffic: Traffic, seconds: float) -> float:
    """Requests a second that a few clients get through, each as fast as it is answered."""
    end = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            await traffic.one()

    await asyncio.gather(*(client() for _ in range(CAPACITY_CLIENTS)))
    assert not traffic.errors, traffic.errors
    return sum(map(len, traffic.seconds.values())) / seconds


async def steady(traffic: Traffic, rate: float, seconds: float) -> None:
    """Requests at random moments, so many a second on average, whatever becomes of those before them."""
    under_way: set[asyncio.Task[None]] = set()
    end, due = time.monotonic() + seconds, time.monotonic()
    while due < end:
        due += traffic.chooser.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.create_task(traffic.one())
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def soak(place: Service, minutes: float, share: float, seed: int) -> tuple[Traffic, str]:
    """What went, and the tables that tell of it."""
    limits = httpx2.Limits(max_connections=512, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=place.api.url, timeout=60, limits=limits) as http:
        seconds = min(CAPACITY_SECONDS, minutes * 60)
        await capacity(Traffic.drawn(http, seed), seconds / 4)  # models are loaded, pages touched
        found = await capacity(Traffic.drawn(http, seed), seconds)
        memory = Memory({"api": place.api.pid, "replica": place.replica.pid})
        watching = asyncio.create_task(memory.watch())
        traffic = Traffic.drawn(http, seed + 1)
        began_at = time.monotonic()
        await steady(traffic, share * found, minutes * 60)
        lasted = time.monotonic() - began_at
        watching.cancel()
    return traffic, "\n".join([*told(traffic, found, seconds, lasted), *memory.told()])


def told(traffic: Traffic, found: float, capacity_seconds: float, lasted: float) -> Iterator[str]:
    answered, errors = sum(map(len, traffic.seconds.values())), sum(traffic.errors.values())
    yield f"Capacity: {found:.0f} requests a second ({CAPACITY_CLIENTS} clients, {capacity_seconds:.0f} s)."
    rate = answered / lasted
    yield f"{answered:,} requests answered in {lasted / 60:.1f} min, {rate:.0f} a second; {errors} errors.\n"
    yield "| request | answered | p50, ms | p99, ms |"
    yield "|---|--:|--:|--:|"
    for kind, seconds in sorted(traffic.seconds.items()):
        cuts = statistics.quantiles(seconds, n=100)
        yield (f"| {kind} | {len(seconds):,} | {cuts[49] * 1000:.1f} | {cuts[98] * 1000:.1f} |")
    for error, number in traffic.errors.most_common():
        yield f"\n{number} x {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--share", type=float, default=0.8, help="of the capacity")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with service(folder / "service") as place:
            place.add(models.text_classifier(folder / "judge"), "model_judge")
            place.add(models.feature_regressor(folder / "regressor"), "model_regressor")
            place.add(models.masked_language_model(folder / "masked"), "model_masked")
            writer = models.write_model(folder / "writer", "pretrain", "causal_language_model", LONGER_TEXT)
            place.add(writer, "model_writer")
            place.start_replica()
            time.sleep(1.5)  # for the api to look at the list
            traffic, table = asyncio.run(soak(place, options.minutes, options.share, options.seed))
    print(table)
    if options.write:
        write_section("soak", table)
    sys.exit(bool(traffic.errors))


if __name__ == "__main__":
    main()
