"""A batch that memory does not suffice for is answered in halves."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.worker.serving import models
from tests.worker.serving.test_predictors import approximately
from worker.batch_prediction.answers import BatchedAnswers
from worker.serving.predictors import load_predictor
from worker.serving.predictors.protocol import BatchedOperation, Encoded

INPUTS: list[list[float]] = [[float(number), 1.0, 2.0, 3.0] for number in range(13)]


@dataclass
class Cramped:
    """A real operation where memory suffices for so many rows at a time."""

    operation: BatchedOperation
    room: int
    computed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limits = self.operation.limits

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        return self.operation.encode_pre(inputs)

    def encode_post(self, encoded: Encoded, results: Sequence[Any]) -> list[Any]:
        return self.operation.encode_post(encoded, results)

    def encode_core(self, values: Sequence[Any]) -> Sequence[Any]:
        if len(values) > self.room:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")
        self.computed.append(len(values))
        return self.operation.encode_core(values)


@pytest.fixture
def operation(tmp_path: Path) -> BatchedOperation:
    predict = load_predictor(models.feature_regressor(tmp_path / "model")).predict
    assert predict is not None
    return predict


def test_the_answers_are_those_of_whole_batches(operation: BatchedOperation) -> None:
    cramped = Cramped(operation, room=4)
    answers = BatchedAnswers(cramped).answer(0, INPUTS, lambda _: None)
    assert answers == approximately(BatchedAnswers(operation).answer(0, INPUTS, lambda _: None))
    assert cramped.computed == [3, 3, 3, 4]


def test_what_does_not_suffice_for_one_row_ends_the_job(operation: BatchedOperation) -> None:
    with pytest.raises(RuntimeError, match="allocate"):
        BatchedAnswers(Cramped(operation, room=0)).answer(0, INPUTS, lambda _: None)


def test_another_error_is_not_tried_again(operation: BatchedOperation, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def broken(values: Sequence[Any]) -> Sequence[Any]:
        calls.append(len(values))
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(type(operation), "encode_core", lambda _, values: broken(values))
    with pytest.raises(RuntimeError, match="shapes"):
        BatchedAnswers(operation).answer(0, INPUTS, lambda _: None)
    assert calls == [len(INPUTS)]
