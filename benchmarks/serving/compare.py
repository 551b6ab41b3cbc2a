"""Predictions per second: a replica, and a replica behind the api's client, against a bare Starlette + torch server.

python -m benchmarks.serving.compare [--seconds 2] [--rounds 3]

Servers run as processes of their own with one torch thread each and are measured in turns, so that a busy neighbour
hurts all alike; quote the ratios. The load is a plain asyncio loop over keep-alive connections in this process.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.contract.inference import Operation
from app.db import workers
from app.db.session import Database, now
from app.db.tables import Row
from app.embedded.sockets import listen
from app.inference_client import InferenceClient, RoutedModel
from app.inference_client.connection import Connection
from app.settings import Settings
from app.storage import FolderStore
from tests.worker.serving import models
from tests.worker.serving.replicas import publish

Ask = Callable[[], Awaitable[bytes]]

INPUTS = {
    "features, tiny mlp": (models.feature_regressor, {"inputs": [[1.0, 2.0, 3.0, 4.0]]}),
    "text, tiny transformer": (models.text_classifier, {"inputs": ["the quick brown fox jumps over the dog"]}),
}


@contextmanager
def server(application: str, environment: dict[str, str]) -> Iterator[str]:
    """A uvicorn process; its address."""
    with listen("127.0.0.1", 0) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "uvicorn", application, "--fd", str(listener.fileno()), "--no-access-log"]
        process = subprocess.Popen(
            [*command, "--log-level", "error"],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PRETUNE_INFERENCE_ADDRESS": address} | environment,
            pass_fds=[listener.fileno()],
        )
    try:
        _wait_for(f"http://{address}/healthz")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  our own address
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)


def request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def keep_alive(address: str, content: bytes) -> Ask:
    host, port = address.split(":")
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, int(port))

    async def ask() -> bytes:
        connection.send(content)
        head = await connection.head()
        assert head.status == 200, (head, await connection.body())
        return await connection.body()

    return ask


async def load(asks: list[Ask], seconds: float) -> tuple[float, float, float]:
    """-> requests a second, median and 99th percentile of the latency in milliseconds"""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def one(ask: Ask) -> None:
        while (start := time.perf_counter()) < end:
            await ask()
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(one(ask) for ask in asks))
    cut = statistics.quantiles(latencies, n=100)
    return len(latencies) / seconds, cut[49] * 1000, cut[98] * 1000


async def measure(targets: dict[str, Callable[[], Awaitable[Ask]]], seconds: float, rounds: int) -> None:
    for concurrency in (1, 16):
        rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in targets}
        for _ in range(rounds):
            for name, target in targets.items():
                asks = [await target() for _ in range(concurrency)]
                await load(asks, 0.2)
                rates[name].append(await load(asks, seconds))
        base = statistics.median(rate for rate, _, _ in rates["bare"])
        for name, found in rates.items():
            rate, middle, worst = (statistics.median(column) for column in zip(*found, strict=True))
            print(
                f"  c={concurrency:<3} {name:<10} {rate:7.0f}/s x{rate / base:.2f}  p50 {middle:.2f} p99 {worst:.2f} ms"
            )


async def compare(name: str, seconds: float, rounds: int, folder: Path) -> None:
    make, body = INPUTS[name]
    settings = Settings(data_dir=folder, heartbeat_seconds=1, inference_threads=1)
    database = Database(settings.resolved_database_url)
    Row.metadata.create_all(database.engine)
    model_folder = make(folder / "model")
    reference = publish(FolderStore(settings.artifacts_dir), model_folder, "model_bench")
    question = {"model": reference.model_dump(mode="json"), "operation": Operation.PREDICT, "body": body}
    environment = {
        "PRETUNE_DATA_DIR": str(folder),
        "PRETUNE_INFERENCE_THREADS": "1",
        "PRETUNE_HEARTBEAT_SECONDS": "1",
        "BENCH_MODEL": str(model_folder),
    }
    with ExitStack() as stack:
        replica = stack.enter_context(server("worker.serving.asgi:app", environment))
        bare = stack.enter_context(server("benchmarks.serving.bare:app", environment))
        while not _live(database):
            await asyncio.sleep(0.1)
        client, routed, content = (
            InferenceClient(database, settings),
            RoutedModel.of(reference),
            json.dumps(body).encode(),
        )

        async def through_client() -> Ask:
            return lambda: client.infer(routed, Operation.PREDICT, content)

        print(name)
        await measure(
            {
                "bare": lambda: keep_alive(bare, request("/predict", content)),
                "replica": lambda: keep_alive(replica, request("/infer", json.dumps(question).encode())),
                "client": through_client,
            },
            seconds,
            rounds,
        )
        client.close()
    database.dispose()


def _live(database: Database) -> bool:
    with database.reading() as session:
        return bool(workers.live(session, "inference", now(session).replace(year=2000)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in INPUTS:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(compare(name, options.seconds, options.rounds, Path(folder)))


if __name__ == "__main__":
    main()
