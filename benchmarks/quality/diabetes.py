"""The worked example on real data: a network learns to foretell the progress of diabetes, and is fine-tuned.

Of scikit-learn's 442 patients four fifths train: half of them pretrain (Adam at 0.01), the other half fine-tune from
the parent's weights (Adam at 0.001). The rest judges. Beside it a ridge regression on all that train. Five splits, and
the median of R2.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.diabetes [fast | full]

Needs scikit-learn (the `demo` extra).
"""

from statistics import median

import numpy as np
from numpy.typing import NDArray

from app.contract.messages import DatasetInput
from benchmarks.quality.bench import Bench, Json, Trained, predict
from benchmarks.quality.rows import Measured, Row, run_alone

ASKED = 0.37
SPLITS = range(5)

Numbers = NDArray[np.float32]


def regressions(bench: Bench, split: int) -> tuple[dict[str, float], dict[str, Trained]]:
    """R2 on the patients held back, of the parent, of the model fine-tuned from it and of the ridge regression."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415  an extra
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415
    from sklearn.metrics import r2_score  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    features, targets = load_diabetes(return_X_y=True)
    x, judged_x, y, judged_y = train_test_split(features, targets, test_size=0.2, random_state=split)
    half = len(x) // 2
    # With 140 patients the best epoch comes early: ten evaluations over 20 epochs find it, over 100 they miss it.
    training: Json = {"duration": bench.epochs(20.0), "validation_fraction": 0.2}
    spec: Json = {"method": {"type": "regression"}, "training": training}
    parent = bench.train({"kind": "pretrain"} | spec, _saved(bench, f"first-{split}", x[:half], y[:half]))
    child = bench.train({"kind": "finetune"} | spec, _saved(bench, f"second-{split}", x[half:], y[half:]), parent)
    models = {"parent": parent, "fine-tuned": child}
    estimates = {name: [each["value"] for each in predict(model, judged_x.tolist())] for name, model in models.items()}
    estimates["ridge"] = RidgeCV(np.logspace(-4, 2, 13)).fit(x, y).predict(judged_x)
    return {name: float(r2_score(judged_y, estimated)) for name, estimated in estimates.items()}, models


def pretrained(bench: Bench) -> Measured:
    return _measured(bench, "parent", asked=None)


def fine_tuned(bench: Bench) -> Measured:
    return _measured(bench, "fine-tuned", asked=ASKED)


def _measured(bench: Bench, which: str, asked: float | None) -> Measured:
    found = [regressions(bench, split) for split in SPLITS]
    score, baseline = (median(scores[name] for scores, _ in found) for name in (which, "ridge"))
    return Measured(found[-1][1][which], score, baseline, asked)


def _saved(bench: Bench, name: str, x: Numbers, y: Numbers) -> DatasetInput:
    return bench.arrays(f"diabetes-{name}", "scored_vectors", features=x, targets=y)


ROWS = (
    Row("regression-pretrained", "regression, mlp", "diabetes (half of it)", "R2", "ridge", pretrained),
    Row("regression-of-vectors", "regression from regression", "diabetes", "R2", "ridge", fine_tuned),
)

if __name__ == "__main__":
    run_alone(ROWS)
