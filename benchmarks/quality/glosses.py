"""What WordNet says that a noun means, told by topic: 26 of them, of which the most frequent has 0.139.

The parent is a masked language model of the glosses themselves, without their topics.

    OMP_NUM_THREADS=2 QUALITY_DATA=folder python -m benchmarks.quality.glosses [fast | full]
"""

from collections import Counter

from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Trained, accuracy
from benchmarks.quality.rows import Measured, Row, run_alone

ACCURACY_ASKED = 0.60


def parent(bench: Bench) -> Trained:
    texts = bench.lines("glosses", [{"text": each.text} for each in corpora.glosses().training], "text")
    method = {
        "type": "masked_language_model",
        "architecture": {"type": "transformer", "num_layers": 2, "width": 192, "num_heads": 4, "context_length": 64},
        "tokenizer": {"type": "bpe", "vocab_size": 8_192},
    }
    training = {"duration": bench.steps(800), "batch_size": 64, "validation_fraction": 0.02}
    return bench.train({"kind": "pretrain", "method": method, "training": training}, texts)


def measured(bench: Bench) -> Measured:
    glosses = corpora.glosses()
    data = bench.lines("glosses-labeled", [each._asdict() for each in glosses.training], "labeled_text")
    training = {"duration": bench.epochs(3.0), "optimizer": {"learning_rate": 1e-3}, "validation_fraction": 0.05}
    spec = {"kind": "finetune", "method": {"type": "classification"}, "training": training}
    trained = bench.train(spec, data, parent(bench))
    labels = [each.label for each in glosses.judged]
    most_frequent = Counter(each.label for each in glosses.training).most_common(1)[0][0]
    score = accuracy(trained, [each.text for each in glosses.judged], labels)
    return Measured(trained, score, labels.count(most_frequent) / len(labels), ACCURACY_ASKED)


ROWS = (
    Row(
        "classification-of-glosses",
        "classification from masked_language_model",
        "WordNet glosses",
        "accuracy",
        "most frequent topic",
        measured,
    ),
)

if __name__ == "__main__":
    run_alone(ROWS)
