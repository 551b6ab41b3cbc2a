"""What is left open in a spec, decided."""

import shutil
from typing import Any

import pytest

from app.contract.specs.job import training_spec_adapter
from app.contract.specs.training import Duration
from tests.worker.training.lines import Line, Points
from worker.data.failures import BadData
from worker.training import precision
from worker.training.precision import choose_compile, choose_precision
from worker.training.resolution import resolve, steps_of


class TokenPoints(Points):
    steps_per_epoch = 12.5
    tokens_per_step: Any = 1_000


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (Duration(steps=7), 7),
        (Duration(epochs=2.0), 25),
        (Duration(epochs=0.01), 1),
        (Duration(epochs=1.0), 13),
        (Duration(tokens=1), 1),
        (Duration(tokens=2_001), 3),
    ],
)
def test_a_duration_in_any_unit_is_a_number_of_steps(duration: Duration, steps: int) -> None:
    assert steps_of(duration, TokenPoints()) == steps


def test_a_duration_in_tokens_needs_a_method_that_counts_them() -> None:
    with pytest.raises(BadData, match="steps or epochs"):
        steps_of(Duration(tokens=10), Points())


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"duration": {"steps": 95}}, (95, 10, 10)),
        ({"duration": {"steps": 3}}, (3, 1, 1)),
        ({"duration": {"steps": 100}, "evaluate_every": {"steps": 20}}, (100, 20, 20)),
        ({"duration": {"steps": 100}, "checkpoint_every": {"epochs": 1.0}}, (100, 10, 10)),
        (
            {"duration": {"epochs": 3.0}, "evaluate_every": {"epochs": 1.0}, "checkpoint_every": {"steps": 4}},
            (30, 10, 4),
        ),
    ],
)
def test_evaluations_and_checkpoints_come_ten_times_unless_told_otherwise(
    training: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    spec = training_spec_adapter.validate_python(
        {"kind": "pretrain", "dataset": "ds_" + "0" * 32, "method": {"type": "regression"}, "training": training}
    )

    resolved = resolve(spec, Line())

    assert (resolved.total_steps, resolved.evaluate_every_steps, resolved.checkpoint_every_steps) == expected


def test_what_is_asked_for_is_what_is_done() -> None:
    assert choose_precision("bf16", "cpu", "mlp", num_parameters=1) == "bf16"
    assert choose_precision("fp32", "cpu", "transformer", num_parameters=10**9) == "fp32"
    assert choose_compile(True, "cpu", "lstm", flops=1.0) is True
    assert choose_compile(False, "cpu", "transformer", flops=1e30) is False


def test_small_models_and_short_jobs_are_left_as_they_are() -> None:
    assert choose_precision("auto", "cpu", "lstm", num_parameters=1_000) == "fp32"
    assert choose_precision("auto", "cpu", "conv", num_parameters=10**9) == "fp32"
    assert choose_compile("auto", "cpu", "transformer", flops=1e12) is False


def test_where_products_in_bf16_are_fast_large_models_that_gain_from_them_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "_multiplies_bf16", lambda _: True)
    chosen = [choose_precision("auto", "cpu", kind, 300_000) for kind in ("lstm", "rnn", "transformer")]

    assert chosen == ["bf16", "fp32", "fp32"]


def test_long_jobs_are_compiled_unless_their_layers_are_fused_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)

    assert [choose_compile("auto", "cpu", kind, flops=1e16) for kind in ("transformer", "lstm", "rnn")] == [
        True,
        False,
        False,
    ]
