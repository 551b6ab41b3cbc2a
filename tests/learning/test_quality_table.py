"""The runner of the quality benchmark: what is done stays done, what changed is measured anew, misses are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import runner
from benchmarks.quality.bench import Bench, Trained
from benchmarks.quality.rows import Measured, MissingData, Row
from tests.worker.serving import models


class Measure:
    """Counts how often it is asked."""

    def __init__(self, trained: Trained, score: float, asked: float | None = None) -> None:
        self.measured = Measured(trained, score, baseline=0.5, asked=asked, notes=("a note",))
        self.seeds: list[int] = []

    def of(self, bench: Bench) -> Measured:
        self.seeds.append(bench.seed)
        return self.measured


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setattr(runner, "RESULTS_FOLDER", tmp_path / "results")
    monkeypatch.setattr(runner, "DOCUMENTS", {name: tmp_path / f"{name}.md" for name in ("fast", "full")})
    return Trained(models.feature_classifier(tmp_path / "model"), steps=(3, 4), seconds=2.0)


def row(measure: Measure, name: str = "row", **options: Any) -> Row:
    return replace(Row(name, "a method", "some data", "accuracy", "chance", measure.of), **options)


def missing(_: Bench) -> Measured:
    raise MissingData("pip install it")


def test_a_row_that_is_done_is_not_measured_again(trained: Trained) -> None:
    measure = Measure(trained, 0.8)

    assert runner.run([row(measure)], ["full"]) == 0
    assert runner.run([row(measure)], ["full"]) == 0
    assert measure.seeds == [0, 1, 2]


def test_what_another_scale_measured_does_not_count(trained: Trained) -> None:
    measure = Measure(trained, 0.8)

    runner.run([row(measure)], ["--scale", "0.5"])
    runner.run([row(measure)], [])

    assert measure.seeds == [0, 0]


def test_the_table_tells_what_was_measured_and_what_was_not(trained: Trained, tmp_path: Path) -> None:
    rows = [row(Measure(trained, 0.8, asked=0.7)), Row("gone", "a method", "other data", "F1", "chance", missing)]

    assert runner.run(rows, ["--write"]) == 0

    document = (tmp_path / "fast.md").read_text()
    parameters = trained.description.num_parameters
    assert (
        f"| a method | some data | accuracy **0.800** | chance 0.500 | at least 0.700 | {parameters} | 3 + 4 | 2 |"
        in (document)
    )
    assert "- gone: pip install it" in document
    assert "- a note" in document


def test_what_is_missed_is_told_and_fails(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    short = row(Measure(trained, 0.6, asked=0.7), "short")
    first, second = row(Measure(trained, 0.6), "first", worse="second"), row(Measure(trained, 0.7), "second")

    assert runner.run([short, first, second], []) == 1

    told = capsys.readouterr().out
    assert "MISSED: short: accuracy 0.600 is not 0.700" in told
    assert "MISSED: first: 0.600 is not better than 0.700 of second" in told
