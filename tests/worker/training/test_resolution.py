"""What is left open in a spec, decided."""

import re
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
    assert choose_compile(True, "cpu", "lstm", flops=1.0) == (True, None)
    assert choose_compile(False, "cpu", "transformer", flops=1e30) == (False, None)


def test_small_models_and_short_jobs_are_left_as_they_are() -> None:
    assert choose_precision("auto", "cpu", "lstm", num_parameters=1_000) == "fp32"
    assert choose_precision("auto", "cpu", "conv", num_parameters=10**9) == "fp32"
    assert not choose_compile("auto", "cpu", "transformer", flops=1e12).compile


def test_where_products_in_bf16_are_fast_large_models_that_gain_from_them_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "_multiplies_bf16", lambda _: True)
    chosen = [choose_precision("auto", "cpu", kind, 300_000) for kind in ("lstm", "rnn", "transformer")]

    assert chosen == ["bf16", "fp32", "fp32"]


def test_long_jobs_are_compiled_unless_their_layers_are_fused_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)

    chosen = [choose_compile("auto", "cpu", kind, flops=1e16).compile for kind in ("transformer", "lstm", "rnn")]

    assert chosen == [True, False, False]


@pytest.mark.parametrize(
    ("architecture", "flops", "compiler", "reason"),
    [
        ("transformer", 1e16, "c++", "Compiled before the first step: .* 1e.16"),
        ("transformer", 1e12, "c++", "Not compiled: .* pays from 2e.14 operations on; the job has 1e.12"),
        ("lstm", 1e16, "c++", "Not compiled: .* fused already"),
        ("transformer", 1e16, None, "Not compiled, .* no C.. compiler"),
    ],
)
def test_whoever_leaves_it_open_reads_why_training_is_compiled_or_not(
    monkeypatch: pytest.MonkeyPatch, architecture: str, flops: float, compiler: str | None, reason: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: compiler)

    assert re.match(reason, choose_compile("auto", "cpu", architecture, flops).reason or "")


@pytest.mark.parametrize(("asked", "num_told"), [("auto", 1), (False, 0)])
def test_the_reason_is_told_once(asked: Any, num_told: int) -> None:
    told: list[str] = []
    options = {"duration": {"steps": 3}, "compile": asked}
    spec = {"kind": "pretrain", "dataset": "ds_" + "0" * 32, "method": {"type": "regression"}, "training": options}

    resolve(training_spec_adapter.validate_python(spec), Line(), told.append)

    assert len(told) == num_told
