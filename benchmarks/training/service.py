"""What is measured in a whole service, as a user starts it: the way to the first step, and what `estimate` foresees."""

import json
import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from app.processes import ChildStarter
from app.services.estimate import START_SECONDS, STEP_SECONDS
from benchmarks.quality.bench import Bench, Json
from benchmarks.training.job import environment
from benchmarks.training.rates import PEAKS
from benchmarks.training.turns import Script
from benchmarks.training.workloads import TOKENIZER, Scale, Workload, lstm, texts, transformer
from pretune import Client, Job
from pretune.views import Estimate
from tests.e2e.running import RunningService, running
from tests.support.costs import cpu_seconds, resident_bytes
from tests.support.processes import command_of
from tests.support.waiting import wait_until

SECONDS = 600.0
#: A process that has computed nothing for so long waits.
QUIET_SECONDS = 1.0
POLL_SECONDS = 0.02
FIRST_STEP_SECONDS = 1.0
#: As users have them; tests have others.
SETTINGS = {
    "PRETUNE_IDLE_POLL_SECONDS": "5",
    "PRETUNE_LEASE_SECONDS": "30",
    "PRETUNE_THREADS": str(len(os.sched_getaffinity(0))),
}
MEBIBYTE = 1 << 20

SMALL: Json = {
    "type": "causal_language_model",
    "architecture": {"type": "transformer", "num_layers": 2, "width": 192, "num_heads": 4, "context_length": 128},
    "tokenizer": TOKENIZER,
}
#: Steps of a training that takes seconds.
STEPS: Json = {"duration": {"steps": 20}, "validation_fraction": 0.0}

#: Of `estimate`: by how much memory and time may be off.
MEMORY_TOLERANCE, TIME_FACTOR = 0.25, 1.5
#: What training reaches of the rate of a large product, as the speeds that `estimate` assumes have it.
SHARE_OF_PRODUCTS = 2 / 3


def first_step(bench: Bench, scale: Scale, rounds: int) -> str:
    """From the request to the end of the first step, of jobs whose data and tokenizer have been used before."""
    with _service(bench) as (service, client):
        dataset = client.datasets.upload(transformer(bench, scale).data.path, name="corpus")
        spec = {"kind": "pretrain", "dataset": dataset.id, "method": SMALL, "training": STEPS | {"compile": False}}
        client.jobs.create(spec).wait(timeout_seconds=SECONDS)
        seconds = []
        for _ in range(rounds):
            _waiting_process(service)
            seconds.append(_seconds_to_first_step(client, spec))
    median = statistics.median(seconds)
    told = f"{median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}); goal {FIRST_STEP_SECONDS} s: "
    title = "### POST to the first step of a small job, on a warm trainer"
    return f"{title}\n\n{told}{'met' if median <= FIRST_STEP_SECONDS else 'missed'}"


def _seconds_to_first_step(client: Client, spec: Json) -> float:
    asked_at = datetime.now(UTC)
    job = client.jobs.create(spec).wait(timeout_seconds=SECONDS)
    first = next(event for event in job.events() if event.type == "metrics" and event.data["step"] == 1)
    return (first.created_at - asked_at).total_seconds()


def estimates(bench: Bench, scale: Scale, _rounds: int) -> str:
    """Each job runs once: its peak is its peak."""
    speeds = _calibrated(bench, scale)
    with _service(bench) as (service, client):
        waiting_bytes = resident_bytes(_waiting_process(service))
        told = [_line(_foreseen(service, client, each), waiting_bytes, speeds) for each in _asked(client, bench, scale)]
    rates = ", ".join(f"{speed / 1e9:,.0f} GFLOP/s in {precision}" for precision, speed in speeds.items())
    terms = (
        f"Memory in MB, with the {waiting_bytes / MEBIBYTE:,.0f} of a training process that waits; to be within "
        f"{MEMORY_TOLERANCE:.0%}. Seconds by this machine's speed in large products, just measured ({rates}); to be "
        f"within a factor of {TIME_FACTOR}."
    )
    header = "| job | memory foreseen | at its peak | seconds foreseen | taken |\n|---|--:|--:|--:|--:|"
    return "\n".join(["### What `estimate` foresees", "", terms, "", header, *told])


@dataclass(frozen=True, slots=True)
class Asked:
    """A job to be foreseen and run."""

    title: str
    spec: Json


@dataclass(frozen=True, slots=True)
class Foreseen:
    asked: Asked
    estimate: Estimate
    job: Job
    peak_bytes: int

    @property
    def seconds(self) -> float:
        assert self.job.started_at is not None
        assert self.job.finished_at is not None
        return (self.job.finished_at - self.job.started_at).total_seconds()

    def seconds_foreseen(self, speeds: Mapping[str, float]) -> float:
        """At the speed of this machine instead of that which the estimate assumes."""
        assert self.job.resolved is not None
        fixed = START_SECONDS + self.estimate.total_steps * STEP_SECONDS["cpu"]
        assumed = self.estimate.assumptions["cpu_flops_per_second"]
        speed = SHARE_OF_PRODUCTS * speeds[self.job.resolved["precision"]]
        return fixed + (self.estimate.estimated_seconds["cpu"] - fixed) * assumed / speed


def _asked(client: Client, bench: Bench, scale: Scale) -> Iterator[Asked]:
    """In order: those behind have the first ones' models for parents."""
    language = transformer(bench, scale)
    text = client.datasets.upload(language.data.path, name="corpus").id
    encoder = language.spec["method"] | {"type": "masked_language_model"}
    yield _pretraining("language model, transformer", text, language)
    yield _pretraining("language model, LSTM", text, lstm(bench, scale))
    yield Asked("masked language model", {"kind": "pretrain", "dataset": text, "method": encoder, "training": STEPS})
    labelled = texts(bench, scale).data.path
    reviews = client.datasets.upload(labelled, name="texts").id
    [parent] = [job.model_id for job in client.jobs.list() if job.method == "masked_language_model"]
    tuning = {"kind": "finetune", "parent": parent, "dataset": reviews, "training": STEPS}
    yield Asked("classification, all weights", tuning | {"method": {"type": "classification"}})
    frozen = {"strategy": {"type": "frozen"}}
    yield Asked("classification, frozen body", tuning | {"method": {"type": "classification"}} | frozen)
    vectors = client.datasets.upload(_vectors(bench.folder), name="vectors").id
    wide = {"type": "mlp", "hidden_widths": [8 * scale.width] * 2}
    for method in ("autoencoder", "gan"):
        spec = {"type": method, "architecture": wide}
        yield Asked(method, {"kind": "pretrain", "dataset": vectors, "method": spec, "training": STEPS})


def _pretraining(title: str, dataset: str, workload: Workload) -> Asked:
    return Asked(title, workload.spec | {"dataset": dataset, "training": workload.spec["training"] | STEPS})


def _vectors(folder: Path) -> Path:
    path = folder / "vectors.jsonl"
    rows = np.random.default_rng(0).normal(size=(5_000, 32)).round(3).tolist()
    path.write_text("".join(json.dumps({"features": row}) + "\n" for row in rows))
    return path


def _foreseen(service: RunningService, client: Client, asked: Asked) -> Foreseen:
    _waiting_process(service)
    estimate = client.jobs.estimate(asked.spec)
    job, peak_bytes, due = client.jobs.create(asked.spec), 0, time.monotonic() + SECONDS
    while not job.is_terminal:
        assert time.monotonic() < due, f"{asked.title} has not ended"
        for _ in range(20):
            peak_bytes = max([peak_bytes, *map(_peak_bytes, _training_processes(service))])
            time.sleep(POLL_SECONDS)
        job = job.refresh()
    assert job.status == "succeeded", job.error
    return Foreseen(asked, estimate, job, peak_bytes)


def _line(foreseen: Foreseen, waiting_bytes: int, speeds: Mapping[str, float]) -> str:
    memory, seconds = waiting_bytes + foreseen.estimate.memory_bytes, foreseen.seconds_foreseen(speeds)
    off, factor = memory / foreseen.peak_bytes - 1, seconds / foreseen.seconds
    met = abs(off) <= MEMORY_TOLERANCE, 1 / TIME_FACTOR <= factor <= TIME_FACTOR
    verdicts = ["met" if each else "missed" for each in met]
    cells = [
        foreseen.asked.title,
        f"{memory / MEBIBYTE:,.0f}",
        f"{foreseen.peak_bytes / MEBIBYTE:,.0f} ({off:+.0%}: {verdicts[0]})",
        f"{seconds:.1f}",
        f"{foreseen.seconds:.1f} (x {factor:.2f}: {verdicts[1]})",
    ]
    return f"| {' | '.join(cells)} |"


def _calibrated(bench: Bench, scale: Scale) -> dict[str, float]:
    """Operations a second in large products."""
    place = bench.folder / "peaks"
    place.mkdir(parents=True, exist_ok=True)
    file = place / "assignment.json"
    file.write_text(transformer(bench, scale).assignment(place / "output").model_dump_json())
    return {precision: _speed(name, file) for precision, name in PEAKS.items()}


def _speed(name: str, file: Path) -> float:
    place = file.parent
    script = Script(ChildStarter(), [name, "8", str(file)], environment(place), place / f"{name}.log")
    try:
        script.turn()
        return script.turn().rate
    finally:
        script.close()


@contextmanager
def _service(bench: Bench) -> Iterator[tuple[RunningService, Client]]:
    folder = bench.folder / "service"
    with running(folder, **SETTINGS) as service, service.client() as client:
        yield service, client


def _waiting_process(service: RunningService) -> int:
    """The one training process there is, when it has imported what it needs."""

    def waits() -> int | None:
        pids = _training_processes(service)
        if len(pids) != 1:
            return None
        before = cpu_seconds(pids[0])
        time.sleep(QUIET_SECONDS)
        return pids[0] if before > 1.0 and cpu_seconds(pids[0]) == before else None

    return wait_until(waits, SECONDS, "one training process waits") or 0


def _training_processes(service: RunningService) -> list[int]:
    trainer = service.members()["trainer"]
    return [pid for pid in service.descendants() if pid != trainer and "worker.training_process" in command_of(pid)]


def _peak_bytes(pid: int) -> int:
    """Zero for one that has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields.get("VmHWM", "0").split()[0]) * 1024
