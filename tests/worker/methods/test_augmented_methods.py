"""What a method does to its examples: in its own units, in training alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from app.contract.messages import Assignment
from app.contract.specs.training import Augmentation
from tests.contract import classification, regression, tagged_words
from tests.contract.runs import prepared
from worker.data.tokenizers import MASK_TOKEN, PADDING_TOKEN, UNKNOWN_TOKEN
from worker.methods.example_method import LearnsFromExamples

Make = Callable[[Path], Assignment]


def method_of(assignment: Assignment, augmentation: Augmentation | None) -> LearnsFromExamples[torch.nn.Module]:
    training = assignment.spec.training.model_copy(update={"augmentation": augmentation})
    spec = assignment.spec.model_copy(update={"training": training})
    method = prepared(assignment.model_copy(update={"spec": spec}))
    assert isinstance(method, LearnsFromExamples)
    return method


@pytest.mark.parametrize(
    ("make", "augmentation"),
    [
        (classification.of_images_never_seen_twice_alike, Augmentation(shift_pixels=1, crop_area=0.5, noise_std=1.0)),
        (classification.of_text, Augmentation(token_dropout=0.5)),
        (regression.of_vectors, Augmentation(mixup_alpha=1.0)),
    ],
)
def test_validation_is_left_alone(make: Make, augmentation: Augmentation, tmp_path: Path) -> None:
    assignment = make(tmp_path)
    changed, plain = method_of(assignment, augmentation), method_of(assignment, None)

    assert changed.evaluate() == plain.evaluate()
    batches = [method.train_data.micro_batches(0)[0] for method in (changed, plain)]
    name = "tokens" if "tokens" in batches[0] else "inputs"
    changed_inputs, inputs = (batch[name] for batch in batches)
    assert changed_inputs.shape != inputs.shape or not torch.equal(changed_inputs, inputs)


def test_noise_is_measured_by_the_data_s_own_deviation(tmp_path: Path) -> None:
    """Features are in thousands, each of another deviation."""
    assignment = regression.of_vectors(tmp_path)
    noisy, plain = (method_of(assignment, each) for each in (Augmentation(noise_std=0.5), None))

    added = torch.cat(
        [
            changed["inputs"] - batch["inputs"]
            for step in range(100)
            for changed, batch in zip(
                noisy.train_data.micro_batches(step), plain.train_data.micro_batches(step), strict=True
            )
        ]
    )

    side = torch.cat([batch["inputs"] for batch in plain.train_data.micro_batches(0)])
    assert side.std(0).min() > 100
    deviations = plain.module.get_buffer("body.standardization.std")
    torch.testing.assert_close(added.std(0), 0.5 * deviations, rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("make", "stand_in"),
    [
        (tagged_words.from_a_masked_language_model, MASK_TOKEN),
        (tagged_words.from_word_vectors, UNKNOWN_TOKEN),
        (tagged_words.from_a_language_model, PADDING_TOKEN),
    ],
)
def test_words_that_have_tags_are_hidden_where_they_stand(make: Make, stand_in: str, tmp_path: Path) -> None:
    assignment = make(tmp_path)
    hiding, plain = (method_of(assignment, each) for each in (Augmentation(token_dropout=0.5), None))

    changed, batch = (method.train_data.micro_batches(0)[0] for method in (hiding, plain))

    assert hiding._tokenizer is not None
    read, written = changed["tokens"], batch["tokens"]
    assert set(read[read != written].tolist()) == {hiding._tokenizer.token_to_id(stand_in)}
    assert all(torch.equal(changed[name], batch[name]) for name in batch if name != "tokens")


def test_texts_that_have_one_answer_are_shortened(tmp_path: Path) -> None:
    assignment = classification.of_text(tmp_path)
    shortening, plain = (method_of(assignment, each) for each in (Augmentation(token_dropout=0.5), None))

    changed, batch = (method.train_data.micro_batches(0)[0] for method in (shortening, plain))

    assert (changed["lengths"] < batch["lengths"]).all()
    assert torch.equal(changed["labels"], batch["labels"])
