"""An evaluation finds what training found on the same validation data, whatever the method."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.contract.messages import Assignment
from app.evaluation.tallies import TALLIES
from tests.contract import (
    autoencoder,
    classification,
    instructions,
    language_model,
    masked_language_model,
    regression,
    semantic_roles,
    tagged_words,
    word2vec,
)
from tests.contract.runs import final_checkpoint, run_here, series
from tests.worker.evaluation.evaluating import Attempt
from worker.evaluation.run import SCORERS
from worker.methods import BUILDERS

#: Of methods, where the same numbers are meant: what training calls them, and what an evaluation does.
SAME = {"validation_loss", "accuracy", "macro_f1", "span_f1", "rmse", "r2", "bits_per_character"}


def trained(assignment: Assignment) -> tuple[Path, dict[str, float]]:
    """The model, and what its training found at its last step, validated on the data that it learned from."""
    options = assignment.spec.training.model_copy(
        update={"duration": assignment.spec.training.decided_duration.model_copy(update={"steps": 3})}
    )
    spec = assignment.spec.model_copy(update={"training": options})
    lines = run_here(assignment.model_copy(update={"spec": spec, "validation_dataset": assignment.dataset}))
    return final_checkpoint(lines) / "model", {
        name: value for (name, step), value in series(lines).items() if step == 3
    }


def evaluated(model: Path, assignment: Assignment, folder: Path) -> Attempt:
    attempt = Attempt(model, assignment.dataset, folder / "evaluation")
    assert attempt.run() == 0, attempt.last
    return attempt


@pytest.mark.parametrize(
    ("case", "loss"),
    [
        (classification.of_vectors_by_a_linear_probe, "cross_entropy"),
        (regression.of_vectors, None),
        pytest.param(classification.of_text, "cross_entropy", marks=pytest.mark.slow),
        pytest.param(tagged_words.from_a_masked_language_model, "cross_entropy", marks=pytest.mark.slow),
        pytest.param(tagged_words.by_a_crf, "cross_entropy", marks=pytest.mark.slow),
        pytest.param(semantic_roles.from_a_masked_language_model, "cross_entropy", marks=pytest.mark.slow),
        pytest.param(instructions.of_capitals, "nats_per_token", marks=pytest.mark.slow),
        pytest.param(autoencoder.of_images, "squared_error", marks=pytest.mark.slow),
    ],
)
def test_its_measures_are_those_of_training(
    case: Callable[[Path], Assignment], loss: str | None, tmp_path: Path
) -> None:
    assignment = case(tmp_path)
    model, found = trained(assignment)
    report = evaluated(model, assignment, tmp_path).report
    values = {name: measure.value for name, measure in report.measures.items()}
    if loss is not None:
        assert values[loss] == pytest.approx(found.pop("validation_loss"), rel=1e-5)
    told = values.keys() & found.keys()
    assert told == SAME & found.keys() - {"validation_loss"}
    assert {name: values[name] for name in told} == pytest.approx({name: found[name] for name in told}, rel=1e-5)


@pytest.mark.slow
def test_a_language_model_is_judged_on_the_windows_of_training_and_on_what_they_leave(tmp_path: Path) -> None:
    assignment = language_model.assignment(tmp_path)
    text = language_model.text_dataset(tmp_path, language_model.manual(6_000), "short.txt")
    assignment = assignment.model_copy(update={"dataset": text})
    model, found = trained(assignment)
    attempt = evaluated(model, assignment, tmp_path)
    units = attempt.units
    assert attempt.report.unit == "window"
    assert set(units["tokens"][:-1]) == {32}
    assert units["tokens"][-1] < 32
    whole = {name: values[:-1].sum() for name, values in units.items()}
    assert whole["nats"] / whole["tokens"] == pytest.approx(found["validation_loss"], rel=1e-5)
    bits = whole["nats"] / np.log(2) / whole["characters"]
    assert bits == pytest.approx(found["bits_per_character"], rel=1e-5)
    assert units["characters"].sum() == 6_000


@pytest.mark.parametrize(
    ("case", "measure", "theirs"),
    [
        pytest.param(masked_language_model.assignment, "nats_per_token", "validation_loss", marks=pytest.mark.slow),
        (word2vec.assignment, "nats_per_pair", "validation_loss"),
    ],
)
def test_what_is_hidden_or_drawn_anew_agrees_within_the_interval(
    case: Callable[[Path], Assignment], measure: str, theirs: str, tmp_path: Path
) -> None:
    assignment = case(tmp_path)
    model, found = trained(assignment)
    estimate = evaluated(model, assignment, tmp_path).report.measures[measure]
    width = estimate.high - estimate.low
    assert estimate.low - width < found[theirs] < estimate.high + width


def test_every_method_is_judged_but_the_one_that_tells_no_likelihood() -> None:
    assert SCORERS.keys() == TALLIES.keys() == {method for _, method in BUILDERS} - {"gan"}
