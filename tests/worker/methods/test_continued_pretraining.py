"""Pretraining that goes on from a parent: all of the parent is there, nothing of its form changes, and it learns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.messages import Assignment
from app.contract.model_folder import TOKENIZER_NAME, WEIGHTS_NAME
from tests.contract import continued, language_model, word2vec
from tests.contract.assignments import finetuning
from tests.contract.runs import final_checkpoint, prepared, run_here, series
from worker.data.failures import BadData
from worker.export import load_model
from worker.models.autoencoder import VariationalAutoencoder
from worker.training.resolution import resolve


@pytest.mark.parametrize(
    "assigned",
    [
        continued.a_language_model,
        continued.an_lstm,
        continued.a_masked_language_model,
        continued.word_vectors,
        continued.a_variational_autoencoder,
        continued.a_gan,
    ],
)
def test_it_starts_from_all_that_the_parent_is(assigned: Callable[[Path], Assignment], tmp_path: Path) -> None:
    """Heads, decoders, generators and the scaling of inputs among its weights; and its tokenizer, to the byte."""
    assignment = assigned(tmp_path)
    (tmp_path / "begun").mkdir()
    prepared(assignment).export(tmp_path / "begun")

    assert assignment.parent_model is not None
    for name in (WEIGHTS_NAME, TOKENIZER_NAME):
        parent = assignment.parent_model / name
        assert not parent.exists() or parent.read_bytes() == (tmp_path / "begun" / name).read_bytes()


def test_its_loss_falls_below_what_the_parent_has_on_the_new_text(tmp_path: Path) -> None:
    """The parent has learned English; the new text is in capitals."""
    first = language_model.assignment(tmp_path)
    parent = final_checkpoint(run_here(first)) / "model"
    shouted = language_model.text_dataset(tmp_path, language_model.manual().upper(), "shouted.txt")
    child = finetuning(tmp_path, shouted, first, {"type": "causal_language_model"}, learning_rate=5e-3).model_copy(
        update={"parent_model": parent, "output_dir": tmp_path / "child"}
    )
    method = prepared(child)
    method.start(resolve(child.spec, method))

    lines = run_here(child)

    losses = [value for (name, _), value in sorted(series(lines).items()) if name == "validation_loss"]
    assert min(losses) < 0.9 * method.evaluate()["validation_loss"]
    assert (final_checkpoint(lines) / "model" / TOKENIZER_NAME).read_bytes() == (parent / TOKENIZER_NAME).read_bytes()


def test_an_autoencoder_keeps_scaling_as_its_parent_does(tmp_path: Path) -> None:
    assignment = continued.a_variational_autoencoder(tmp_path)
    assert assignment.parent_model is not None

    before = load_model(assignment.parent_model).module
    after = load_model(final_checkpoint(run_here(assignment)) / "model").module

    assert isinstance(before, VariationalAutoencoder)
    assert isinstance(after, VariationalAutoencoder)
    assert after.body.standardization.mean.equal(before.body.standardization.mean)
    assert after.body.standardization.std.equal(before.body.standardization.std)


def test_a_text_without_words_of_the_parent_is_bad_data(tmp_path: Path) -> None:
    parent = word2vec.assignment(tmp_path)
    strange = language_model.text_dataset(tmp_path, "xyzzy plugh " * 100, "strange.txt")
    with pytest.raises(BadData, match="0 words that are in the vocabulary"):
        prepared(finetuning(tmp_path, strange, parent, {"type": "word2vec"}))
