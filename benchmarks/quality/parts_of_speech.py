"""Accuracy of a tagger on English parts of speech (UD English-EWT), from a masked language model of the same sentences.

The parent reads the training sentences without their tags; the tagger is fine-tuned from it. For comparison, each word
with its most frequent tag of the training data, and words that those never show with the most frequent tag of such.

    OMP_NUM_THREADS=2 EWT_POS=path/to/ewt_pos python -m benchmarks.quality.parts_of_speech [--steps 600] [--epochs 3]

Needs the folder of train.tsv and test.tsv, a sentence a block: a token, its UPOS and its XPOS, between tabs.
"""

import json
import os
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.quality.running import Json, dataset, predict, train

POINTS_ABOVE_THE_BASELINE = 0.03

PARENT: Json = {
    "type": "masked_language_model",
    "architecture": {"type": "transformer", "num_layers": 2, "width": 128, "num_heads": 4, "context_length": 128},
    "tokenizer": {"type": "bpe", "vocab_size": 4096},
}

Sentence = tuple[list[str], list[str]]


def sentences(path: Path) -> list[Sentence]:
    """Tokens and their UPOS."""
    return [*_blocks(path.read_text(encoding="utf-8").splitlines())]


def _blocks(lines: list[str]) -> Iterator[Sentence]:
    tokens: list[str] = []
    tags: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not line.startswith("# "):
            token, tag, *_ = line.split("\t")
            tokens.append(token)
            tags.append(tag)
        elif tokens:
            yield tokens, tags
            tokens, tags = [], []


def most_frequent_tags(training: list[Sentence], judged: list[Sentence]) -> float:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for tokens, tags in training:
        for token, tag in zip(tokens, tags, strict=True):
            counts[token][tag] += 1
    rare = sum((each for each in counts.values() if each.total() == 1), Counter[str]())
    told = [[(counts.get(token) or rare).most_common(1)[0][0] for token in tokens] for tokens, _ in judged]
    return accuracy(told, judged)


def accuracy(told: list[list[str]], judged: list[Sentence]) -> float:
    right = [
        mine == theirs
        for tags, (_, wanted) in zip(told, judged, strict=True)
        for mine, theirs in zip(tags, wanted, strict=True)
    ]
    return sum(right) / len(right)


def measured(data: Path, folder: Path, steps: int, epochs: float) -> tuple[float, float]:
    """-> the accuracy of the tagger, and that of the most frequent tags"""
    training, judged = sentences(data / "train.tsv"), sentences(data / "test.tsv")
    text, tagged = folder / "text.jsonl", folder / "tagged.jsonl"
    text.write_text("".join(json.dumps({"text": " ".join(tokens)}) + "\n" for tokens, _ in training))
    tagged.write_text("".join(json.dumps({"tokens": tokens, "tags": tags}) + "\n" for tokens, tags in training))
    pretraining = {"kind": "pretrain", "method": PARENT, "training": {"duration": {"steps": steps}}}
    tagging = {
        "kind": "finetune",
        "method": {"type": "sequence_labeling"},
        "training": {"duration": {"epochs": epochs}, "evaluate_every": {"epochs": 1}},
    }
    parent = train(pretraining, dataset(text, "text"), folder / "parent")
    model = train(tagging, dataset(tagged, "tagged_tokens"), folder / "tagger", parent)
    told = [output["tags"] for output in predict(model, [{"tokens": tokens} for tokens, _ in judged])]
    return accuracy(told, judged), most_frequent_tags(training, judged)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("EWT_POS", ""), help="the folder of train.tsv and test.tsv")
    parser.add_argument("--steps", type=int, default=600, help="of the parent")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the tagger")
    options = parser.parse_args()
    data = Path(options.data)
    if not options.data or not (data / "train.tsv").exists():
        print(f"SKIPPED: there is no train.tsv in {options.data or 'the folder that EWT_POS or --data would name'}.")
        return
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found, baseline = measured(data, Path(folder), options.steps, options.epochs)
    print(f"{time.perf_counter() - began:.0f} s, parent {options.steps} steps, tagger {options.epochs} epochs")
    print(f"accuracy {found:.3f}; most frequent tags {baseline:.3f}; {POINTS_ABOVE_THE_BASELINE} above them is asked")
    raise SystemExit(found < baseline + POINTS_ABOVE_THE_BASELINE)


if __name__ == "__main__":
    main()
