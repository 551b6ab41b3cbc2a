"""The loop: what it reports, evaluates and keeps, and when."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from app.contract.checkpoint import CheckpointManifest
from app.contract.messages import ArtifactLine, CheckpointLine, FinishedLine, MetricsLine, ReportLine
from tests.worker.training.lines import Line, trainer
from worker.training.failures import LossNotFinite


@pytest.fixture
def lines() -> list[ReportLine]:
    return []


def _steps(lines: list[ReportLine], name: str) -> list[int]:
    return [line.step for line in lines if isinstance(line, MetricsLine) and name in line.values]


def _values(lines: list[ReportLine], name: str) -> list[float]:
    return [line.values[name] for line in lines if isinstance(line, MetricsLine) and name in line.values]


def _kept(lines: list[ReportLine]) -> dict[int, CheckpointManifest]:
    return {
        line.step: CheckpointManifest.model_validate_json((line.path / "manifest.json").read_text())
        for line in lines
        if isinstance(line, CheckpointLine)
    }


def test_a_run_reports_evaluates_and_keeps_at_fixed_steps(tmp_path: Path, lines: list[ReportLine]) -> None:
    finished = trainer(Line(), tmp_path, lines.append).run()

    assert _steps(lines, "train_loss") == list(range(1, 21))
    assert _steps(lines, "validation_loss") == [5, 10, 15, 20]
    assert list(_kept(lines)) == [5, 10, 15, 20]
    assert isinstance(finished, FinishedLine)
    assert (finished.step, finished.model_step, finished.reason) == (20, 20, "duration")


def test_reports_of_a_long_run_are_means_over_a_stretch_that_depends_on_its_length_alone(
    tmp_path: Path, lines: list[ReportLine]
) -> None:
    method = Line()
    trainer(method, tmp_path, lines.append, total_steps=250, evaluate_every_steps=250).run()

    first, second = method.losses[::2], method.losses[1::2]
    assert _steps(lines, "train_loss") == list(range(2, 251, 2))
    assert _values(lines, "train_loss") == pytest.approx([sum(pair) / 2 for pair in zip(first, second, strict=True)])


def test_the_model_is_the_best_checkpoint(tmp_path: Path, lines: list[ReportLine]) -> None:
    method = Line(validation_losses={5: 3.0, 10: 1.0, 15: 2.0, 20: 1.5})

    finished = trainer(method, tmp_path, lines.append).run()

    assert isinstance(finished, FinishedLine)
    assert finished.model_step == 10
    assert [step for step, manifest in _kept(lines).items() if manifest.is_best] == [5, 10]
    assert _kept(lines)[15].metrics == {"validation_loss": 2.0}


def test_artifacts_show_each_best_model_before_it_is_kept(tmp_path: Path, lines: list[ReportLine]) -> None:
    method = Line(validation_losses={5: 3.0, 10: 1.0, 15: 2.0, 20: 1.5})

    trainer(method, tmp_path, lines.append).run()

    told = [(line.path.parent.name, line.path.read_text()) for line in lines if isinstance(line, ArtifactLine)]
    assert told == [("step-000000005", "after 5 steps"), ("step-000000010", "after 10 steps")]
    kinds = [type(line) for line in lines if isinstance(line, ArtifactLine | CheckpointLine)]
    assert kinds == [ArtifactLine, CheckpointLine, ArtifactLine, CheckpointLine, CheckpointLine, CheckpointLine]


def test_without_validation_artifacts_show_the_last_model(tmp_path: Path, lines: list[ReportLine]) -> None:
    trainer(Line(), tmp_path, lines.append, num_validation_examples=0).run()

    assert [line.path.read_text() for line in lines if isinstance(line, ArtifactLine)] == ["after 20 steps"]


def test_the_best_is_kept_even_between_two_checkpoints(tmp_path: Path, lines: list[ReportLine]) -> None:
    method = Line(validation_losses={4: 2.0, 8: 1.0, 12: 3.0, 16: 3.0, 20: 3.0})

    trainer(method, tmp_path, lines.append, evaluate_every_steps=4, checkpoint_every_steps=10).run()

    assert list(_kept(lines)) == [4, 8, 10, 20]
    assert _kept(lines)[10].metrics == {}


def test_early_stopping_ends_after_evaluations_in_a_row_that_are_not_better(
    tmp_path: Path, lines: list[ReportLine]
) -> None:
    losses = {2: 5.0, 4: 4.0, 6: 3.99, 8: 3.0, 10: 2.95, 12: 2.96, 14: 1.0}
    method = Line(validation_losses=losses)

    finished = trainer(
        method, tmp_path, lines.append, evaluate_every_steps=2, early_stopping={"patience": 2, "min_delta": 0.1}
    ).run()

    assert isinstance(finished, FinishedLine)
    assert (finished.step, finished.model_step, finished.reason) == (12, 10, "early_stopping")
    assert 12 in _kept(lines), "the last step is kept beside the best"


def test_a_run_that_resumes_where_it_stopped_early_stays_stopped(tmp_path: Path, lines: list[ReportLine]) -> None:
    rule = {"patience": 1, "min_delta": 0.0}
    losses = {5: 1.0, 10: 2.0}
    trainer(Line(validation_losses=losses), tmp_path, lines.append, early_stopping=rule).run()
    last = [line.path for line in lines if isinstance(line, CheckpointLine)][-1]

    again: list[ReportLine] = []
    finished = trainer(Line(), tmp_path, again.append, early_stopping=rule).run(resume_from=last)

    assert isinstance(finished, FinishedLine)
    assert (finished.step, finished.model_step) == (10, 5)
    assert again == []


def test_a_stop_is_obeyed_at_the_next_step_with_a_checkpoint(tmp_path: Path, lines: list[ReportLine]) -> None:
    stop, method = threading.Event(), Line()
    method.before_step = lambda step: stop.set() if step == 7 else None

    assert trainer(method, tmp_path, lines.append, stop=stop).run() is None

    assert list(_kept(lines)) == [5, 8]


def test_a_stopped_run_goes_on_to_equal_weights_and_the_same_series(tmp_path: Path, lines: list[ReportLine]) -> None:
    options: dict[str, Any] = {"total_steps": 250, "evaluate_every_steps": 25, "checkpoint_every_steps": 50}
    whole: list[ReportLine] = []
    trainer(Line(), tmp_path / "whole", whole.append, **options).run()
    stop, method = threading.Event(), Line()
    method.before_step = lambda step: stop.set() if step == 76 else None  # within a stretch of two steps

    trainer(method, tmp_path / "parts", lines.append, stop=stop, **options).run()
    last = [line.path for line in lines if isinstance(line, CheckpointLine)][-1]
    trainer(Line(), tmp_path / "parts", lines.append, **options).run(resume_from=last)

    assert last.name == "step-000000077"
    assert [line.values for line in lines if isinstance(line, MetricsLine)] == [
        line.values for line in whole if isinstance(line, MetricsLine)
    ]
    ends = [tmp_path / part / "checkpoints" / "step-000000250" / "model" / "weights" for part in ("whole", "parts")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_a_stop_before_the_first_step_keeps_nothing(tmp_path: Path, lines: list[ReportLine]) -> None:
    stop = threading.Event()
    stop.set()

    assert trainer(Line(), tmp_path, lines.append, stop=stop).run() is None
    assert lines == []


def test_a_loss_that_is_not_finite_ends_the_run_and_is_never_kept(tmp_path: Path, lines: list[ReportLine]) -> None:
    method = Line()

    def poison(step: int) -> None:
        if step == 7:
            torch.nn.init.constant_(next(iter(method.module.parameters())), float("nan"))

    method.before_step = poison
    with pytest.raises(LossNotFinite, match=r"became nan by step 8.*learning_rate"):
        trainer(method, tmp_path, lines.append).run()
    assert list(_kept(lines)) == [5]


def test_weights_are_not_kept_where_the_loss_has_become_nan_between_reports(
    tmp_path: Path, lines: list[ReportLine]
) -> None:
    method, stop = Line(), threading.Event()

    def poison_and_stop(step: int) -> None:
        if step == 6:  # reports come every 5 steps
            torch.nn.init.constant_(next(iter(method.module.parameters())), float("nan"))
            stop.set()

    method.before_step = poison_and_stop
    with pytest.raises(LossNotFinite):
        trainer(
            method,
            tmp_path,
            lines.append,
            stop=stop,
            total_steps=500,
            evaluate_every_steps=500,
            checkpoint_every_steps=500,
        ).run()
    assert _kept(lines) == {}


def test_accumulated_parts_make_the_step_of_the_whole_batch(tmp_path: Path, lines: list[ReportLine]) -> None:
    """Parts of 5, 2 and 1 examples: their mean would not do."""
    whole, parts = Line(), Line(num_micro_batches=3)
    trainer(whole, tmp_path / "whole", lambda _: None).run()
    trainer(parts, tmp_path / "parts", lines.append).run()

    for mine, theirs in zip(parts.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_training_learns_the_line(tmp_path: Path, lines: list[ReportLine]) -> None:
    trainer(Line(), tmp_path, lines.append, total_steps=300, evaluate_every_steps=100).run()

    losses = _values(lines, "train_loss")
    assert losses[-1] < 0.01 < losses[0]
