"""Curves of known shape, what is said of them, and what is advised."""

from typing import Any

import pytest

from app.contract.specs.job import FinetuneSpec, PretrainSpec, training_spec_adapter
from app.contract.specs.training import Augmentation
from worker.supervisor.overfitting import OverfittingReport, Point, as_markdown, judged
from worker.supervisor.remedies import SUGGESTIONS, advice

DATASET = "ds_" + "0" * 32
FALLING = [(step, 2.0 - step / 60) for step in range(10, 101, 10)]
RISING = [(20, 1.5), (40, 1.0), (60, 1.1), (80, 1.3), (100, 1.6)]


def spec_of(method: str = "classification", kind: str = "finetune", **fields: Any) -> PretrainSpec | FinetuneSpec:
    named = {"kind": kind, "dataset": DATASET} | ({"parent": "parent"} if kind == "finetune" else {})
    options = fields.pop("options", {})
    return training_spec_adapter.validate_python(named | {"method": {"type": method, **options}} | fields)


def report_of(
    validation: list[Point], train: list[Point] = FALLING, spec: PretrainSpec | FinetuneSpec | None = None
) -> OverfittingReport:
    curves = {"train_loss": train} | ({"validation_loss": validation} if validation else {})
    return judged("job_1", spec or spec_of(), "labeled_images", curves)


def test_a_validation_loss_that_rises_while_training_falls_is_overfitting() -> None:
    report = report_of(RISING)

    assert (report.verdict, report.overfits) == ("overfits", True)
    assert report.finding.startswith("The validation loss was lowest at step 40 (1) and rose to 1.6 by step 100")
    assert "training.augmentation.shift_pixels to 1" in report.advice
    assert report.best is not None
    assert report.last is not None
    assert (report.best.step, report.last.step) == (40, 100)
    assert report.best.train_loss == pytest.approx((FALLING[2][1] + FALLING[3][1]) / 2), "since the evaluation before"
    assert report.last.gap == pytest.approx(1.6 - (FALLING[8][1] + FALLING[9][1]) / 2)
    assert report.curves == {"train_loss": FALLING, "validation_loss": RISING}


@pytest.mark.parametrize(
    ("validation", "train", "verdict", "told"),
    [
        ([(20, 1.5), (40, 1.0), (60, 1.04)], [(10, 1.5), (30, 0.9), (50, 0.8)], "does_not_overfit", "stayed near"),
        ([(20, 1.5), (40, 1.0), (60, 1.04)], [(10, 1.5), (30, 0.9), (50, 0.3)], "overfits", "far below it, to 0.3"),
        ([(20, 1.5), (40, 1.0), (60, 0.9)], [(10, 1.5), (30, 0.9), (50, 0.1)], "still_learning", "step 60 (0.9), its"),
        ([(20, 1.5), (40, 1.0), (60, 9.0)], [(10, 1.5), (30, 0.9), (50, 7.0)], "does_not_overfit", "did not fall"),
        ([(20, 0.0), (40, 0.1)], [(10, 0.2), (30, 0.1)], "overfits", "rose to 0.1"),
        ([(20, 1.5)], FALLING, "not_judged", "one evaluation, at step 20"),
        ([], FALLING, "not_judged", "no evaluation"),
        (RISING, [], "does_not_overfit", "did not fall"),
    ],
)
def test_what_curves_say(validation: list[Point], train: list[Point], verdict: str, told: str) -> None:
    report = report_of(validation, train)

    assert report.verdict == verdict
    assert report.overfits == {"overfits": True, "not_judged": None}.get(verdict, False)
    assert told in report.finding


def test_the_losses_of_a_game_are_not_compared() -> None:
    report = report_of(RISING, spec=spec_of("gan", "pretrain"))

    assert report.verdict == "not_judged"
    assert {each.gap for each in report.evaluations} == {None}
    assert "lowest at step 40" in report.finding


def test_the_remedies_in_force_are_told() -> None:
    training = {
        "optimizer": {"type": "adamw", "weight_decay": 0.3},
        "early_stopping": {"patience": 2},
        "augmentation": {"noise_std": 0.5},
    }
    options = {"sampling": "balanced", "label_smoothing": 0.0}
    strategy = {"type": "gradual_unfreezing", "layer_learning_rate_decay": 0.8}
    report = report_of(RISING, spec=spec_of(training=training, options=options, strategy=strategy))

    assert {remedy.field: remedy.value for remedy in report.remedies} == {
        "training.augmentation.noise_std": 0.5,
        "training.optimizer.weight_decay": 0.3,
        "training.early_stopping": {"patience": 2, "min_delta": 0.0},
        "method.sampling": "balanced",
        "strategy.type": "gradual_unfreezing",
        "strategy.layer_learning_rate_decay": 0.8,
    }
    assert "- `training.early_stopping`: patience 2, min_delta 0.0" in as_markdown(report)


@pytest.mark.parametrize(
    ("spec", "dataset_kind", "first"),
    [
        (spec_of(), "labeled_images", "training.augmentation.shift_pixels to 1 or training.augmentation.mixup_alpha"),
        (spec_of(), "labeled_text", "training.augmentation.token_dropout to 0.1 or strategy.type to gradual"),
        (spec_of("regression"), "scored_vectors", "training.augmentation.mixup_alpha to 0.2"),
        (spec_of("causal_language_model", "pretrain"), "text", "method.architecture.dropout to 0.2"),
    ],
)
def test_the_advice_names_what_fits_and_is_not_in_force(
    spec: PretrainSpec | FinetuneSpec, dataset_kind: str, first: str
) -> None:
    assert advice(spec, dataset_kind).startswith(f"Set, say, {first}")


def test_where_all_is_in_force_the_advice_is_more_data() -> None:
    architecture = {"type": "transformer", "dropout": 0.1}
    training: dict[str, Any] = {"weight_average": {}, "early_stopping": {}}
    spec = spec_of("causal_language_model", "pretrain", options={"architecture": architecture}, training=training)

    assert advice(spec, "text") == "All remedies that fit are in force: give more data, or a smaller model."


def test_every_augmentation_is_suggested() -> None:
    assert {f"training.augmentation.{name}" for name in Augmentation.model_fields} <= set(SUGGESTIONS)


def test_a_reader_gets_the_same() -> None:
    text = as_markdown(report_of(RISING))

    assert text.startswith("# Overfitting: overfits\n\nThe validation loss was lowest at step 40")
    assert "| best | 40 | 1.417 | 1 | -0.4167 |" in text
    assert "| last | 100 | 0.4167 | 1.6 | 1.183 |" in text
