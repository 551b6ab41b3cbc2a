"""What checkpoints cost at the default interval: ten of them over a job's whole duration.

python -m benchmarks.checkpoints [--rounds 3]

Trains in this process. A step's metrics are reported before its checkpoint is written, and the checkpoint after it: the
time between is the checkpoint's, and the rest that of steps. A busy neighbour slows both down alike; quote the ratio.
What the supervisor does with a checkpoint, beside the training, is done here in between and told apart.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np

from app.contract.messages import Assignment, CheckpointLine, DatasetInput, MetricsLine, ReportLine
from app.contract.specs.job import training_spec_adapter
from app.db.attempts import Claim
from app.storage import FolderStore
from worker.supervisor.publish import Publisher
from worker.training_run import run_assignment

#: As in the spec.
DEFAULT_CHECKPOINTS = 10
#: Of the ten intervals, those that are trained here: the others are like them.
INTERVALS = 3


class Job(NamedTuple):
    """`steps`: of the whole duration, an interval of which is a tenth."""

    method: dict[str, Any]
    steps: int
    data: Callable[[Path], DatasetInput]


@dataclass
class Clock:
    """Seconds in steps, in writing checkpoints, and in storing them."""

    publisher: Publisher
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("steps", "written", "stored"), 0.0))
    _before: float | None = None

    def report(self, line: ReportLine) -> None:
        """What is before the first metrics is preparation, and the first steps, which are slower."""
        if isinstance(line, MetricsLine):
            self._add("steps")
        elif isinstance(line, CheckpointLine):
            self._add("written")
            self.publisher.checkpoint(line.path, line.step)
            self._add("stored")

    def _add(self, what: str) -> None:
        before, self._before = self._before, time.perf_counter()
        if before is not None:
            self.seconds[what] += self._before - before


def manual(folder: Path) -> DatasetInput:
    path = folder / "manual.txt"
    path.write_text("\n\n".join(topics[name] for name in sorted(topics)))
    return DatasetInput(path=path, filename=path.name, kind="text", columns={}, sha256="0" * 64)


def vectors(folder: Path) -> DatasetInput:
    path = folder / "vectors.jsonl"
    rows = np.random.default_rng(0).normal(size=(20_000, 32)).round(3).tolist()
    path.write_text("".join(json.dumps({"features": row}) + "\n" for row in rows))
    return DatasetInput(path=path, filename=path.name, kind="vectors", columns={}, sha256="1" * 64)


JOBS = {
    "language model of the demo, 1.3 million parameters, 400 steps": Job(
        {
            "type": "causal_language_model",
            "architecture": {
                "type": "transformer",
                "num_layers": 2,
                "width": 192,
                "num_heads": 4,
                "context_length": 128,
            },
            "tokenizer": {"type": "bpe", "vocab_size": 2048},
        },
        400,
        manual,
    ),
    "autoencoder of 20,000 vectors, three epochs": Job({"type": "autoencoder"}, 1_900, vectors),
}


def measure(job: Job, folder: Path) -> dict[str, float]:
    interval = job.steps // DEFAULT_CHECKPOINTS
    spec = {
        "kind": "pretrain",
        "dataset": f"ds_{0:032}",
        "method": job.method,
        "training": {
            "duration": {"steps": INTERVALS * interval},
            "checkpoint_every": {"steps": interval},
            "validation_fraction": 0.0,
        },
    }
    assignment = Assignment(
        job_id="job",
        attempt=1,
        spec=training_spec_adapter.validate_python(spec),
        dataset=job.data(folder),
        output_dir=folder / "output",
        cache_dir=folder / "cache",
    )
    clock = Clock(Publisher(FolderStore(folder / "store"), Claim("job", "default", 1, "wrk")))
    assert run_assignment(assignment, clock.report, stop=threading.Event()) == 0
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    for name, job in JOBS.items():
        print(name)
        ratios = []
        for _ in range(parser.parse_args().rounds):
            with tempfile.TemporaryDirectory() as folder:
                seconds = measure(job, Path(folder))
            ratios.append(1 + seconds["written"] / seconds["steps"])
            told = ", ".join(f"{what} {value:.3f} s" for what, value in seconds.items())
            print(f"  {told}: {ratios[-1]:.4f}", flush=True)
        print(f"  step time with checkpoints to that without: median {statistics.median(ratios):.4f}")


if __name__ == "__main__":
    main()
