"""Semantic roles on a small grammar: learned, told exactly, and refused where a question is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.contract.messages import Assignment
from app.contract.tags import arguments
from tests.contract import language_model, semantic_roles
from tests.contract.runs import final_checkpoint, prepared, run_here, series
from tests.worker.methods.test_sequence_labeling import longer
from tests.worker.serving.test_predictors import answers
from worker.methods.finetune.semantic_role_labeling import SemanticRoleLabelingMethod
from worker.methods.tagging import span_f1
from worker.serving.errors import InvalidInput
from worker.serving.predictors import load_predictor


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = run_here(longer(semantic_roles.from_a_masked_language_model(tmp_path_factory.mktemp("roles"))))
    reported = {name for name, _ in series(lines)}
    assert reported >= {"train_loss", "validation_loss", "accuracy", "span_f1"}
    return final_checkpoint(lines) / "model"


def ask(model: Path, *propositions: tuple[list[str], int]) -> list[dict[str, Any]]:
    inputs = [{"tokens": tokens, "predicate": predicate} for tokens, predicate in propositions]
    return answers(load_predictor(model).predict, inputs)


def test_roles_are_told_by_the_predicate_that_is_asked_about(trained: Path) -> None:
    unseen = semantic_roles.propositions(60, seed=1)
    told = ask(trained, *((tokens, predicate) for tokens, predicate, _ in unseen))

    given = [roles for _, _, roles in unseen]
    assert span_f1(given, [output["roles"] for output in told], arguments) > 0.95


def test_an_answer_tells_roles_and_arguments(trained: Path) -> None:
    tokens = ["Ada", "says", "Bob", "sees", "old", "Ur", "now", "."]

    said, sees = ask(trained, (tokens, 1), (tokens, 3))

    assert said["roles"] == ["B-A0", "B-V", "B-A1", *["I-A1"] * 4, "O"]
    assert said["arguments"] == [
        {"role": "A0", "start": 0, "end": 1, "text": "Ada"},
        {"role": "A1", "start": 2, "end": 7, "text": "Bob sees old Ur now"},
    ]
    assert [each["text"] for each in sees["arguments"]] == ["Bob", "old Ur", "now"]


def test_words_beyond_the_context_play_no_role(trained: Path) -> None:
    tokens = [*["Ada", "says", "."] * 40, "Bob", "sees", "Rome", "."]

    (output,) = ask(trained, (tokens, 121))

    assert len(output["roles"]) == len(tokens)
    assert set(output["roles"][:80]) == {"O"}
    assert {"role": "A1", "start": 122, "end": 123, "text": "Rome"} in output["arguments"]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Ada sings", r'takes {"tokens": \[...\], "predicate": index}, and got \'Ada sings\''),
        ({"tokens": ["a"]}, "an object with the keys"),
        ({"tokens": ["a"], "predicate": 1}, "predicate 1 is no index of the 1 tokens"),
        ({"tokens": ["a"], "predicate": -1}, "predicate -1 is no index"),
        ({"tokens": ["a"], "predicate": True}, "predicate must be the index of a token"),
        ({"tokens": [], "predicate": 0}, "tokens is empty"),
        ({"tokens": ["a", 1], "predicate": 0}, r"tokens\[1\] must be a string"),
    ],
)
def test_what_is_no_question_is_refused(trained: Path, value: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        answers(load_predictor(trained).predict, [value])


def test_validation_loss_is_the_mean_over_words(tmp_path: Path) -> None:
    """The oracle asks the module for one proposition at a time."""
    method = prepared(semantic_roles.from_a_masked_language_model(tmp_path))
    assert isinstance(method, SemanticRoleLabelingMethod)
    module, validation = method.model.eval(), method._validation
    losses: list[float] = []
    with torch.no_grad():
        for place in range(len(validation)):
            batch = validation.gather(np.array([place]))
            likelihoods = module(batch)[0].log_softmax(1)
            losses += [-likelihoods[word, role].item() for word, role in enumerate(batch["roles"][0].tolist())]

    assert method.evaluate()["validation_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_arguments_beyond_the_context_count_as_missed(tmp_path: Path) -> None:
    """One argument beside the predicate, and one that no answer can hold."""
    far = ["B-AM-TMP", *["O"] * 60, "B-A0", "B-V", "O"]
    assignment = semantic_roles.from_a_masked_language_model(tmp_path)
    dataset = semantic_roles.semantic_roles(tmp_path, [(["now", *["a"] * 63], 62, far)] * 4, "far.jsonl")
    method = prepared(_validated_on(assignment.model_copy(update={"dataset": dataset}), dataset))
    assert isinstance(method, SemanticRoleLabelingMethod)

    def told_as_given(logits: torch.Tensor, num_words: torch.Tensor) -> torch.Tensor:
        return next(method.validation_batches())["roles"]

    method.model.decode = told_as_given  # type: ignore[method-assign]

    assert method.evaluate()["span_f1"] == pytest.approx(2 / 3)


def test_the_body_may_be_frozen_and_dropout_is_the_jobs_own(tmp_path: Path) -> None:
    assignment = semantic_roles.from_a_language_model(tmp_path, language_model.LSTM)
    method = prepared(assignment)
    assert isinstance(method, SemanticRoleLabelingMethod)
    assert method.model.dropout.p == 0.3

    method.model.body.freeze(len(method.model.body.stages()))

    trained = {name.split(".")[0] for name, each in method.model.named_parameters() if each.requires_grad}
    assert trained == {"mark", "lstm", "hidden", "head"}


def _validated_on(assignment: Assignment, dataset: Any) -> Assignment:
    return assignment.model_copy(update={"validation_dataset": dataset})
