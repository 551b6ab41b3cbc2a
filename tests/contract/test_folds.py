"""Cross-validation, for every method: over all folds each example validates once, and trains in the others."""

from pathlib import Path

import numpy as np
import pytest

from app.contract.messages import Assignment, MetricsLine
from app.contract.specs.training import ValidationFold
from tests.contract.cases import Case
from tests.contract.runs import prepared, run_here
from tests.contract.test_methods import METHODS, over
from worker.data.failures import BadData
from worker.methods.example_method import LearnsFromExamples
from worker.training.protocols import Method


def of_fold(assignment: Assignment, index: int, group: str | None = None, count: int = 3) -> Assignment:
    fold = ValidationFold(count=count, index=index, group=group)
    training = assignment.spec.training.model_copy(update={"validation_fold": fold})
    spec = assignment.spec.model_copy(update={"training": training})
    return assignment.model_copy(update={"spec": spec, "validation_dataset": None})


@over(METHODS)
def test_each_example_validates_in_one_fold_alone(case: Case, tmp_path: Path) -> None:
    assignment = case.assignment(tmp_path)

    methods = [prepared(of_fold(assignment, index)) for index in range(3)]

    if isinstance(methods[0], LearnsFromExamples):
        _check_examples(methods)
    else:
        sizes = [method.num_validation_examples for method in methods]
        assert max(sizes) - min(sizes) <= 1, "stretches of a text"
        assert min(sizes) >= 1


def _check_examples(methods: list[Method]) -> None:
    total = 0
    held: list[int] = []
    for method in methods:
        assert isinstance(method, LearnsFromExamples)
        validation = method._validation
        total = len(validation.examples)
        held += validation.indices.tolist()
        assert method.num_validation_examples == len(validation)
    assert sorted(held) == list(range(total))


def test_a_text_is_cut_into_stretches_of_which_each_validates_once(tmp_path: Path) -> None:
    assignment = METHODS["pretrain-causal_language_model"].assignment(tmp_path)
    sides = []
    for index in range(3):
        method = prepared(of_fold(assignment, index))
        sides.append((method.train_data._windows.tokens, method._validation.tokens))  # type: ignore[attr-defined]

    whole = np.concatenate([validation for _, validation in sides])
    assert np.array_equal(sides[0][0], np.concatenate([sides[1][1], sides[2][1]]))
    assert np.array_equal(sides[1][0], np.concatenate([sides[0][1], sides[2][1]]))
    assert np.array_equal(sides[2][0], np.concatenate([sides[0][1], sides[1][1]]))
    assert len(whole) == len(sides[0][0]) + len(sides[0][1])


def test_a_job_of_a_fold_trains_and_evaluates(tmp_path: Path) -> None:
    lines = run_here(of_fold(METHODS["pretrain-regression"].assignment(tmp_path), 1))

    assert any("validation_loss" in line.values for line in lines if isinstance(line, MetricsLine))


@pytest.mark.parametrize(("count", "told"), [(2, None), (5, "5 folds need 5 groups")])
def test_records_of_one_group_stay_together(count: int, told: str | None, tmp_path: Path) -> None:
    assignment = METHODS["pretrain-regression"].assignment(tmp_path)
    path = tmp_path / "grouped.csv"
    rows = [f"{number},{number * 2},{number % 7},patient {number % 4}" for number in range(40)]
    path.write_text("\n".join(["a,b,target,patient", *rows]))
    dataset = assignment.dataset.model_copy(update={"path": path, "filename": path.name, "columns": {}})
    grouped = assignment.model_copy(update={"dataset": dataset})

    if told is not None:
        with pytest.raises(BadData, match=told):
            prepared(of_fold(grouped, 0, "patient", count))
        return
    method = prepared(of_fold(grouped, 0, "patient", count))
    assert isinstance(method, LearnsFromExamples)
    assert len(method._validation) == 20
    assert len({int(index) % 4 for index in method._validation.indices}) == 2
