"""A job that is left to choose ends with the bytes of one that was told what it chose, wherever it was interrupted."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.contract.auto import with_options, with_values
from app.contract.messages import (
    EXIT_STOPPED,
    Assignment,
    FinishedLine,
    MetricsLine,
    ReportLine,
    Resolved,
    ResolvedLine,
    SearchLine,
    TrialLine,
)
from app.contract.specs.training import TrainingOptions
from app.contract.trials import Trial
from tests.contract.cases import CASES, VARIANTS, Case
from tests.contract.runs import continued, final_checkpoint, run_here, run_until_killed_at, series
from worker.training_run import run_assignment

#: So short that the budget is three trials of ten steps.
STEPS = 150
METHODS: Mapping[str, Case] = {"-".join(key): case for key, case in CASES.items()}
SLOWER = (
    "pretrain-causal_language_model",
    "pretrain-word2vec",
    "pretrain-autoencoder",
    "finetune-sequence_labeling",
    "finetune-instruction_tuning",
    "gan-by-averaged-weights",
    "classification-by-gradual-unfreezing",
    "classification-by-adapters",
)


def test_a_search_leaves_no_trace_in_the_weights(tmp_path: Path) -> None:
    _check_against_the_named(METHODS["pretrain-regression"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOWER)
def test_a_search_leaves_no_trace_in_the_weights_of_other_methods_and_strategies(name: str, tmp_path: Path) -> None:
    _check_against_the_named({**METHODS, **VARIANTS}[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pretrain-causal_language_model", "finetune-classification"])
def test_kills_in_the_search_and_after_it_leave_no_trace_and_repeat_no_trial(name: str, tmp_path: Path) -> None:
    whole = run_here(left_open(METHODS[name].assignment(tmp_path / "whole")))
    killed = left_open(METHODS[name].assignment(tmp_path / "killed"))

    first = run_until_killed_at(killed, lambda line: isinstance(line, TrialLine))
    second = run_until_killed_at(continued(killed, first), lambda line: isinstance(line, MetricsLine))
    third = run_here(continued(continued(killed, first), second))

    assert 1 <= len(trials(first)) < 3, "the kill came too late: all trials were made"
    assert [*trials(first), *trials(second), *trials(third)] == trials(whole)
    assert series(third), "the kill came too late: nothing was left to do"
    assert series(second, third) == series(whole)
    assert weights(third) == weights(whole)


def test_a_stop_is_obeyed_within_a_trial(tmp_path: Path) -> None:
    assignment, lines, stop = (
        left_open(METHODS["pretrain-regression"].assignment(tmp_path)),
        list[ReportLine](),
        threading.Event(),
    )

    def report(line: ReportLine) -> None:
        lines.append(line)
        if isinstance(line, SearchLine) and line.num_done == 1:
            stop.set()

    assert run_assignment(assignment, report, stop=stop) == EXIT_STOPPED
    assert [type(line) for line in lines[-2:]] == [TrialLine, SearchLine]


def test_a_rate_that_diverges_is_cut_at_once(tmp_path: Path) -> None:
    """Plain descent at 0.3 on squared errors of some thousand."""
    optimizer = {"type": "sgd", "learning_rate": "auto", "momentum": 0.0}
    assignment = left_open(
        METHODS["pretrain-regression"].assignment(tmp_path), optimizer=optimizer, gradient_clip_norm=None, steps=800
    )
    lines = searched(assignment)

    cut = {trial.learning_rate for trial in trials(lines) if trial.cut == "diverged"}
    assert max(trial.learning_rate for trial in trials(lines)) in cut
    assert all(trial.stopped_at_step < trial.steps for trial in trials(lines) if trial.score is None)
    assert decided(lines).learning_rate not in cut


def test_without_room_for_trials_the_default_is_taken(tmp_path: Path) -> None:
    lines = searched(left_open(METHODS["pretrain-regression"].assignment(tmp_path), steps=STEPS - 1))

    assert trials(lines) == []
    assert decided(lines).learning_rate == 1e-3, "that of adamw, which is not the method's own optimizer"


def test_a_batch_size_is_tried_over_as_many_examples(tmp_path: Path) -> None:
    assignment = METHODS["pretrain-regression"].assignment(tmp_path)
    options = {"batch_size": "auto", "duration": {"epochs": 120.0}, "gradient_accumulation_steps": 1}
    changed = TrainingOptions.model_validate(assignment.spec.training.model_dump(exclude_none=True) | options)
    assignment = assignment.model_copy(update={"spec": with_options(assignment.spec, changed)})
    lines = run_here(assignment)

    assert {trial.learning_rate for trial in trials(lines)} == {0.01}, "a rate that was named stays"
    assert sorted(trial.batch_size * trial.steps for trial in trials(lines)) == [768, 768, 768]
    chosen = decided(lines)
    assert chosen.batch_size in {trial.batch_size for trial in trials(lines)}
    assert weights(run_here(_named(assignment, chosen, tmp_path / "named"))) == weights(lines)


def test_an_open_duration_is_ended_by_early_stopping(tmp_path: Path) -> None:
    """100 epochs of 96 examples in batches of 16 are the default: 600 steps, evaluated ten times."""
    assignment = METHODS["pretrain-regression"].assignment(tmp_path)
    changed = assignment.spec.training.model_copy(update={"duration": "auto"})
    lines = run_here(assignment.model_copy(update={"spec": with_options(assignment.spec, changed)}))

    resolved, finished = decided(lines), lines[-1]
    assert (resolved.total_steps, resolved.evaluate_every_steps) == (2_400, 60)
    assert isinstance(finished, FinishedLine)
    assert finished.reason == "early_stopping"
    assert finished.step == finished.model_step + 5 * 60 < 2_400


def left_open(
    assignment: Assignment, *, steps: int = STEPS, optimizer: dict[str, Any] | None = None, **training: Any
) -> Assignment:
    """The learning rate, in so many steps."""
    spec = assignment.spec
    given = spec.training.model_dump(exclude_none=True) | {"evaluate_every": {"steps": steps}}
    open_rate = (
        given["optimizer"] if training.get("batch_size") == "auto" else given["optimizer"] | {"learning_rate": "auto"}
    )
    options = given | {"duration": {"steps": steps}, "optimizer": optimizer or open_rate} | training
    changed = type(spec.training).model_validate(options)
    return assignment.model_copy(update={"spec": with_options(spec, changed)})


def searched(assignment: Assignment) -> list[ReportLine]:
    """As far as the decision."""
    lines, stop = list[ReportLine](), threading.Event()

    def report(line: ReportLine) -> None:
        lines.append(line)
        if isinstance(line, ResolvedLine) and line.resolved.learning_rate is not None:
            stop.set()

    assert run_assignment(assignment, report, stop=stop) == EXIT_STOPPED
    return lines


def trials(lines: list[ReportLine]) -> list[Trial]:
    return [line.trial for line in lines if isinstance(line, TrialLine)]


def decided(lines: list[ReportLine]) -> Resolved:
    return [line.resolved for line in lines if isinstance(line, ResolvedLine)][-1]


def weights(lines: list[ReportLine]) -> bytes:
    return (final_checkpoint(lines) / "model" / "model.safetensors").read_bytes()


def _named(assignment: Assignment, resolved: Resolved, folder: Path) -> Assignment:
    options = assignment.spec.training
    rate = resolved.learning_rate or options.optimizer.decided_rate
    batch_size = resolved.batch_size or options.decided_batch_size
    spec = with_options(assignment.spec, with_values(options, rate, batch_size))
    return assignment.model_copy(update={"spec": spec, "output_dir": folder})


def _check_against_the_named(case: Case, folder: Path) -> None:
    assignment = left_open(case.assignment(folder))
    chosen = run_here(assignment)
    named = run_here(_named(assignment, decided(chosen), folder / "named"))

    assert len(trials(chosen)) == 3
    assert decided(named).learning_rate is None
    assert weights(named) == weights(chosen)
    assert series(named) == series(chosen)
