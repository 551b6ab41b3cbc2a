"""The rows that are tokens a second: who takes part in each, and the table that comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from app.contract import sizes
from app.contract.model_folder import DESCRIPTION_NAME, BodyDescription, ModelDescription
from app.processes import ChildStarter
from benchmarks.quality.bench import Bench
from benchmarks.training.job import Job, environment
from benchmarks.training.turns import Contestant, Figures, Measured, Script, in_turns, ratio
from benchmarks.training.workloads import WORKLOADS, Scale, Workload

PEAKS = {"fp32": "peak-fp32", "bf16": "peak-bf16"}
JOB, LOOP = "a job", "its loop, bare"


@dataclass(frozen=True, slots=True)
class Peer:
    """`slowness`: how many times as long a turn of the same steps would take, and so how many fewer it takes."""

    script: str
    precision: str
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """`goals`: how many times as fast as each of the others a job is to be."""

    title: str
    workload: str
    peers: Mapping[str, Peer]
    goals: Mapping[str, float]


ROWS = {
    "transformer": Row(
        "Transformer language model, 12 million parameters, 16 x 256 tokens a step",
        "transformer",
        {
            "Trainer, defaults": Peer("llama", "fp32", slowness=1.6),
            "Trainer, bf16, compiled": Peer("llama-best", "bf16"),
        },
        {LOOP: 0.98, "Trainer, defaults": 1.6, "Trainer, bf16, compiled": 1.05},
    ),
    "lstm": Row(
        "LSTM language model, 2 x 512, 16 x 256 tokens a step",
        "lstm",
        {"nn.LSTM, fp32, eager": Peer("lstm", "fp32", slowness=1.5)},
        {LOOP: 0.98, "nn.LSTM, fp32, eager": 1.5},
    ),
    "texts": Row(
        "Classification of texts of 6 to 256 tokens, encoder 6 x 384, 32 a step",
        "texts",
        {
            "Trainer, defaults": Peer("bert", "fp32", slowness=6.0),
            "Trainer, by length": Peer("bert-by-length", "fp32", slowness=4.0),
            "Trainer, by length, bf16": Peer("bert-best", "bf16", slowness=4.0),
        },
        {LOOP: 0.98, "Trainer, defaults": 3.5, "Trainer, by length": 1.5},
    ),
}


def measured_row(row: Row, bench: Bench, scale: Scale, rounds: int) -> str:
    """-> what is written of it"""
    workload = WORKLOADS[row.workload](bench, scale)
    place = bench.folder / row.workload
    place.mkdir(parents=True, exist_ok=True)
    file = place / "assignment.json"
    file.write_text(workload.assignment(place / "output").model_dump_json())
    starter, jobs = ChildStarter(), list[Job]()

    def job() -> Contestant:
        jobs.append(Job(starter, workload.assignment(place / "job"), place))
        return jobs[0]

    def script(name: str, steps: float) -> Contestant:
        return Script(starter, [name, str(max(1, round(steps))), str(file)], environment(place), place / f"{name}.log")

    contestants: dict[str, Callable[[], Contestant]] = {JOB: job, LOOP: partial(script, "loop", workload.turn_steps)}
    for name, peer in row.peers.items():
        contestants[name] = partial(script, peer.script, workload.turn_steps / peer.slowness)
    contestants |= {name: partial(script, name, scale.turn_steps) for name in PEAKS.values()}
    found = in_turns(contestants, rounds)
    return "\n\n".join(
        [f"### {row.title}", _table(row, jobs[0], found, _flops_of_token(workload, jobs[0])), _told(jobs[0])]
    )


def _table(row: Row, job: Job, found: Measured, flops: float) -> str:
    ours = job.resolved
    assert ours is not None
    precisions = {name: peer.precision for name, peer in row.peers.items()}
    lines = [
        "| | tokens/s | range | tokens/s of CPU | of the matrix peak | a job is faster by | goal |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, figures in found.items():
        if name in PEAKS.values():
            continue
        precision = precisions.get(name, ours.resolved.precision)
        best = max(found[PEAKS[precision]].rates)
        lines.append(_line(name, figures, f"{figures.rate * flops / best:.0%} of {precision}", row, found[JOB]))
    return "\n".join(lines)


def _line(name: str, figures: Figures, share: str, row: Row, job: Figures) -> str:
    rates = figures.rates
    cells = [
        name,
        f"{figures.rate:,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{figures.rate_of_cpu:,.0f}",
        share,
    ]
    if name == JOB:
        return f"| {' | '.join(cells)} | | |"
    goal = row.goals.get(name)
    by_cpu = job.rate_of_cpu / figures.rate_of_cpu
    reached = "" if goal is None else f"{goal:.2f}: {'met' if job.rate / figures.rate >= goal else 'missed'}"
    return f"| {' | '.join(cells)} | {ratio(job.rates, rates)}; of CPU {by_cpu:.2f} | {reached} |"


def _told(job: Job) -> str:
    assert job.resolved is not None
    resolved, shares = job.resolved.resolved, job.checkpoint_shares[1:]
    compiled = "compiled" if resolved.compile else "not compiled"
    return (
        f"The job chose {resolved.precision}, {compiled}. Its ten checkpoints, written and stored, take "
        f"{sum(shares) / len(shares):.1%} of the {resolved.total_steps:,} steps' time, and are in its rate."
    )


def _flops_of_token(workload: Workload, job: Job) -> float:
    """Of the job, forward and backward, attention counted for those alone that a token sees. Of a peer of the same
    shape it is the same."""
    assert job.resolved is not None
    resolved, spec = job.resolved.resolved, workload.assignment(workload.cache_dir).spec
    assert resolved.tokens_per_step is not None
    tokens = resolved.tokens_per_step // spec.training.decided_batch_size
    method, outputs = (spec.kind, spec.method.type), 4 if spec.kind == "finetune" else None
    return sizes.training_flops(method, _body(job), outputs, tokens) / tokens


def _body(job: Job) -> BodyDescription:
    description = ModelDescription.model_validate_json((job.model_folder / DESCRIPTION_NAME).read_bytes())
    return description.body
