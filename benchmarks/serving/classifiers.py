"""A classifier behind HTTP: ours against LitServe and a bare FastAPI + torch server.

    python -m benchmarks.serving.classifiers [--seconds 2] [--rounds 3] [--models mlp encoder]
        [--concurrency 1 16 64] [--write]

Every server is a process of its own (ours is the api and one replica; LitServe has a worker), all with one torch thread
and the same weights. They are measured in turns, so that a busy neighbour hurts all alike: quote the ratios of medians,
not the rates. CPU ms are those of a server's processes for one request. LitServe counts at its best setting for each
concurrency. What reads texts is measured in float32 and in bfloat16, where a peer's model is converted as a whole.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from app.contract.inference import ModelReference, Operation, Precision
from app.contract.model_folder import Granularity, InputKind
from app.contract.specs.architectures import MlpArchitecture, TransformerArchitecture
from app.db.migrate import upgrade
from app.db.session import Database
from app.embedded.sockets import listen, url_of
from app.services.keys import Keys
from app.settings import Settings
from app.storage import FolderStore
from benchmarks.document import write_section
from benchmarks.serving.load import Figures, Target, measured, require_wrk
from tests.support.waiting import wait_until
from tests.worker.serving import models, replicas

PROJECT = "benchmark"
MODEL_ID = "model_benchmark"
START_SECONDS = 120
LABELS = ("north", "east", "south", "west")
NUM_FEATURES = 32
#: LitServe's settings: the size of a batch and how long it waits for one.
LITSERVE = {"LitServe": (1, 0.0), "LitServe, batches, 2 ms": (32, 0.002), "LitServe, batches, 10 ms": (32, 0.010)}
PEERS = {"FastAPI": "fastapi"} | dict.fromkeys(LITSERVE, "litserve")

FEATURES: dict[str, Any] = {
    "architecture": MlpArchitecture(hidden_widths=(256,)),
    "input": InputKind.FEATURES,
    "granularity": Granularity.EXAMPLE,
    "input_shape": (NUM_FEATURES,),
}
TEXT: dict[str, Any] = {
    "architecture": TransformerArchitecture(num_layers=4, width=256, num_heads=4, context_length=64),
    "input": InputKind.TEXT,
    "granularity": Granularity.TOKENS,
    "bidirectional": True,
}
#: 31 tokens and the one that begins.
SENTENCE = "the quick brown fox jumps over the lazy dog and the dog counts twice " * 2 + "the dog"


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and what it is asked, and the precisions that it is served in."""

    title: str
    body: dict[str, Any]
    value: Any
    precisions: tuple[Precision, ...] = ("float32",)

    @property
    def question(self) -> dict[str, Any]:
        return {"inputs": [self.value]}

    def written(self, folder: Path) -> Path:
        return models.write_model(folder, "finetune", "classification", self.body, labels=LABELS)


SUBJECTS = {
    "mlp": Subject("A tiny MLP, 32 features", FEATURES, [0.25 * number for number in range(NUM_FEATURES)]),
    "encoder": Subject("An encoder of 4 layers of 256, 32 tokens", TEXT, SENTENCE, ("bfloat16", "float32")),
}


class Contender(NamedTuple):
    server: str
    precision: Precision


Measured = Mapping[tuple[Contender, int], list[Figures]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("It was ended."))  # and the servers with it
    require_wrk()
    if find_spec("litserve") is None:
        sys.exit("LitServe is not installed here: pip install -c constraints.txt -e '.[benchmarks]'")
    tables = [f"{options.rounds} rounds of {options.seconds} s in turns."]
    for name in options.models:
        load, _, _ = os.getloadavg()
        with tempfile.TemporaryDirectory() as folder:
            found = compare(SUBJECTS[name], Path(folder), options.seconds, options.rounds, options.concurrency)
        told = f"The load of the machine before was {load:.1f}."
        tables.append(f"#### {SUBJECTS[name].title}\n\n{told}\n\n{table(found)}")
        print(tables[-1], flush=True)
    if options.write:
        write_section("classifiers", "\n\n".join(tables))


def compare(subject: Subject, folder: Path, seconds: int, rounds: int, concurrencies: list[int]) -> Measured:
    model = subject.written(folder / "model")
    found: dict[tuple[Contender, int], list[Figures]] = {}
    with ExitStack() as stack:
        targets: dict[Contender, Target] = {}
        for precision in subject.precisions:
            for server, target in _servers(stack, subject, folder, model, precision):
                measured(target, folder, concurrency=16, seconds=1)  # loads the model
                _signal(server, target, signal.SIGSTOP)
                targets[Contender(server, precision)] = target
        for concurrency in concurrencies:
            for _ in range(rounds):
                for contender, target in targets.items():
                    with _awake(contender.server, target):
                        figures = measured(target, folder, concurrency=concurrency, seconds=seconds)
                    found.setdefault((contender, concurrency), []).append(figures)
    return found


@contextmanager
def _awake(server: str, target: Target) -> Iterator[None]:
    """A peer sleeps while others are measured: LitServe's idle processes take a fifth of a core."""
    _signal(server, target, signal.SIGCONT)
    try:
        yield
    finally:
        _signal(server, target, signal.SIGSTOP)


def _signal(server: str, target: Target, number: signal.Signals) -> None:
    if server in PEERS:
        for group in target.groups:
            os.killpg(group, number)


def _servers(
    stack: ExitStack, subject: Subject, folder: Path, model: Path, precision: Precision
) -> Iterator[tuple[str, Target]]:
    place = folder / precision
    place.mkdir()
    yield from _ours(stack, subject, place, model, precision)
    yield from _peers(stack, subject, place, model, precision)


def _ours(
    stack: ExitStack, subject: Subject, folder: Path, model: Path, precision: Precision
) -> Iterator[tuple[str, Target]]:
    settings = Settings(data_dir=folder, heartbeat_seconds=1, inference_threads=1)
    upgrade(settings.resolved_database_url)
    database = Database(settings.resolved_database_url)
    stack.callback(database.dispose)
    reference = replicas.register(database, FolderStore(settings.artifacts_dir), model, MODEL_ID, PROJECT)
    key = Keys(database).create(PROJECT).text
    replica = stack.enter_context(_uvicorn("worker.serving.asgi:app", folder, precision))
    api = stack.enter_context(_uvicorn("app.main:app", folder, precision))
    both = {api.group, replica.group}
    yield "api and replica", Target(f"{api.url}/v1/models/{MODEL_ID}/predict", subject.question, both, key)
    yield "replica alone", Target(f"{replica.url}/infer", _direct(reference, subject), {replica.group})


def _direct(reference: ModelReference, subject: Subject) -> dict[str, Any]:
    return {"model": reference.model_dump(mode="json"), "operation": Operation.PREDICT, "body": subject.question}


def _peers(
    stack: ExitStack, subject: Subject, folder: Path, model: Path, precision: Precision
) -> Iterator[tuple[str, Target]]:
    for name in PEERS:
        port, options = _free_port(), [str(option) for option in LITSERVE.get(name, ())]
        command = ["-m", "benchmarks.serving.peers", PEERS[name], str(model), str(port), precision, *options]
        server = stack.enter_context(_process(command, folder, f"http://127.0.0.1:{port}", "/docs", precision))
        yield name, Target(f"{server.url}/predict", subject.question, {server.group})


@dataclass(frozen=True, slots=True)
class Server:
    """`group` is that of its processes."""

    url: str
    group: int


@contextmanager
def _uvicorn(application: str, folder: Path, precision: Precision) -> Iterator[Server]:
    """As `pretune up` starts it."""
    with listen("127.0.0.1", 0) as listener:
        url = url_of(listener)
        command = ["-m", "uvicorn", application, "--fd", str(listener.fileno()), "--no-access-log"]
        with _process(command, folder, url, "/healthz", precision, inherits=listener) as server:
            yield server


@contextmanager
def _process(
    command: list[str],
    folder: Path,
    url: str,
    probe: str,
    precision: Precision,
    *,
    inherits: socket.socket | None = None,
) -> Iterator[Server]:
    """Processes in a group of their own, once they answer."""
    environment = {
        "OMP_NUM_THREADS": "1",
        "PRETUNE_DATA_DIR": str(folder),
        "PRETUNE_HEARTBEAT_SECONDS": "1",
        "PRETUNE_INFERENCE_THREADS": "1",
        "PRETUNE_INFERENCE_PRECISION": precision,
        "PRETUNE_INFERENCE_ADDRESS": url.removeprefix("http://"),
    }
    with (folder / "servers.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | environment,
            stdout=log,
            stderr=log,
            pass_fds=[inherits.fileno()] if inherits else [],
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(process, f"{url}{probe}", folder), START_SECONDS, f"{command} answers")
        yield Server(url, process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGCONT)
        process.wait(START_SECONDS)


def _answers(process: "subprocess.Popen[bytes]", url: str, folder: Path) -> bool:
    assert process.poll() is None, (folder / "servers.log").read_text()
    try:
        urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  our own address
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def table(found: Measured) -> str:
    """Medians over the rounds; the ratios are those of the medians, to peers of the same precision and to LitServe in
    float32, which is what it does unless it is told."""
    header = ["clients", "server", "computes in", "requests/s", "p50 ms", "p99 ms", "CPU ms"]
    header += ["x LitServe", "x LitServe in float32", "x FastAPI"]
    lines = [f"| {' | '.join(header)} |", f"|--:|---|---|{'--:|' * 7}"]
    for concurrency in dict.fromkeys(concurrency for _, concurrency in found):
        medians = {contender: _median(each) for (contender, at), each in found.items() if at == concurrency}
        best = {precision: _best_litserve(medians, precision) for _, precision in medians}
        for contender, figures in medians.items():
            server, precision = contender
            if server in LITSERVE and contender != best[precision]:
                continue
            bases = (best[precision], best["float32"], Contender("FastAPI", precision))
            ratios = [f"{figures.rate / medians[base].rate:.2f}" for base in bases]
            told = [f"{value:.2f}" for value in (figures.p50, figures.p99, figures.cpu)]
            lines.append(f"| {' | '.join([str(concurrency), *contender, f'{figures.rate:.0f}', *told, *ratios])} |")
    return "\n".join(lines)


def _best_litserve(medians: Mapping[Contender, Figures], precision: Precision) -> Contender:
    settings = [each for each in medians if each.server in LITSERVE and each.precision == precision]
    return max(settings, key=lambda each: medians[each].rate)


def _median(rounds: list[Figures]) -> Figures:
    return Figures(*map(statistics.median, zip(*map(astuple, rounds), strict=True)))


if __name__ == "__main__":
    main()
