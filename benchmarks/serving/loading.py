"""How long a model takes to be there: from a replica's start to its first answer, and through an LRU that is too small.

python -m benchmarks.serving.loading [--models 50] [--room 10] [--requests 2000] [--write]

The way is a user's: over HTTP to an api process, and from there to a replica process with one thread. Models are asked
one after another, so that which of them is in memory is known here, too; the replica's own count of loads must agree.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from app.contract.specs.architectures import TransformerArchitecture
from benchmarks.document import write_section
from benchmarks.serving.service import Service, service
from tests.worker.serving import models
from tests.worker.serving.figures import Figures

FEATURES: dict[str, Any] = {"inputs": [[1, 2, 3, 4]]}
TEXT: dict[str, Any] = {"inputs": ["the quick brown fox jumps over the lazy dog"]}
TEN_MILLION = models.TEXT_BODY | {
    "architecture": TransformerArchitecture(num_layers=8, width=320, num_heads=5, context_length=256)
}
SEED = 0


def ask(http: httpx2.Client, model: str, body: dict[str, Any]) -> float:
    """Seconds until the answer."""
    began_at = time.perf_counter()
    answer = http.post(f"/v1/models/{model}/predict", json=body)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began_at


def cold(place: Service, http: httpx2.Client, folder: Path) -> Iterator[str]:
    """A replica that has nothing, and one whose disk has the files."""
    small = place.add(models.feature_regressor(folder / "small"), "model_small")
    large = place.add(
        models.write_model(folder / "large", "pretrain", "causal_language_model", TEN_MILLION), "model_large"
    )
    yield "| model | bytes | files on its disk | start to list, s | first answer, s | second, ms |"
    yield "|---|--:|---|--:|--:|--:|"
    for reference, body in ((small, FEATURES), (large, TEXT)):
        for on_disk in ("no", "yes"):
            began_at = time.perf_counter()
            place.start_replica()
            listed = time.perf_counter() - began_at
            time.sleep(1.5)  # for the api to look at the list
            first, second = (ask(http, reference.model_id, body) for _ in range(2))
            place.replica.kill()
            cells = [reference.model_id, f"{reference.size_bytes:,}", on_disk, f"{listed:.2f}", f"{first:.3f}"]
            yield f"| {' | '.join(cells)} | {second * 1000:.1f} |"


@dataclass
class Room:
    """What an LRU of so many models holds, and how long those took that it held and those that it did not."""

    size: int
    held: OrderedDict[str, None] = field(default_factory=OrderedDict)
    hits: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)

    def asked(self, model: str, seconds: float) -> None:
        (self.hits if model in self.held else self.misses).append(seconds)
        self.held[model] = None
        self.held.move_to_end(model)
        if len(self.held) > self.size:
            self.held.popitem(last=False)


def crowded(place: Service, http: httpx2.Client, names: list[str], room: Room, num_requests: int) -> Iterator[str]:
    """The models' popularity falls with their rank: the n-th is asked 1/n as often as the first."""
    chooser = random.Random(SEED)  # noqa: S311  no secret
    weights = [1 / rank for rank in range(1, len(names) + 1)]
    place.start_replica()
    time.sleep(1.5)
    for name in chooser.choices(names, weights, k=num_requests):
        room.asked(name, ask(http, name, FEATURES))
    told = Figures.of(httpx2.get(f"http://{place.replica.address}/metrics").text)
    loads = sum(told.get("model_loads_total", model=name, outcome="ok") or 0 for name in names)
    assert loads == len(room.misses), (loads, len(room.misses))
    yield f"\n{len(names)} models through the room of {room.size}, {num_requests:,} requests one after another:\n"
    yield "| | requests | share | p50, ms | p99, ms |"
    yield "|---|--:|--:|--:|--:|"
    for name, found in (("hits", room.hits), ("misses", room.misses)):
        cuts = statistics.quantiles(found, n=100)
        cells = [name, f"{len(found):,}", f"{len(found) / num_requests:.1%}", f"{cuts[49] * 1000:.2f}"]
        yield f"| {' | '.join(cells)} | {cuts[98] * 1000:.2f} |"


def small_models(folder: Path, number: int) -> Iterator[Path]:
    return (models.feature_regressor(folder / f"m{seed}", seed) for seed in range(number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--room", type=int, default=10, help="models that fit into the replica's memory")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with service(folder / "cold") as place, place.api.client() as http:
            lines = [*cold(place, http, folder)]
        folders = list(small_models(folder, options.models))
        size = sum(file.stat().st_size for file in folders[0].rglob("*") if file.is_file())
        with (
            service(folder / "crowded", inference_cache_bytes=options.room * size + size // 2) as place,
            place.api.client() as http,
        ):
            names = [place.add(each, f"model_{number}").model_id for number, each in enumerate(folders)]
            lines += crowded(place, http, names, Room(options.room), options.requests)
    table = "\n".join(lines)
    print(table)
    if options.write:
        write_section("loading", table)


if __name__ == "__main__":
    main()
