"""Taggers: what they learn, report and answer, beyond what the contract asks of every method."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.contract.messages import Assignment
from app.contract.specs.training import Duration
from app.contract.tags import mended
from tests.contract import tagged_words
from tests.contract.runs import final_checkpoint, prepared, run_here, series
from tests.worker.serving.test_predictors import answers
from worker.data.failures import BadData
from worker.export import load_model
from worker.methods.finetune.sequence_labeling import SequenceLabelingMethod
from worker.methods.tagging import ToldTags, span_f1
from worker.serving.errors import InvalidInput
from worker.serving.predictors import load_predictor

TAGS = ["O", "B-A", "I-A", "B-B", "I-B"]


def longer(assignment: Assignment) -> Assignment:
    """Until it has learned what there is to learn; the parent knows nothing yet."""
    training = assignment.spec.training.model_copy(update={"duration": Duration(steps=150)})
    return assignment.model_copy(update={"spec": assignment.spec.model_copy(update={"training": training})})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = run_here(longer(tagged_words.from_a_masked_language_model(tmp_path_factory.mktemp("tagger"))))
    reported = {name for name, _ in series(lines)}
    assert reported >= {"train_loss", "validation_loss", "accuracy", "span_f1"}
    return final_checkpoint(lines) / "model"


def test_words_are_told_by_what_stands_around_them(trained: Path) -> None:
    unseen = tagged_words.sentences(100, seed=1)
    told = answers(load_predictor(trained).predict, [{"tokens": tokens} for tokens, _ in unseen])

    assert span_f1([tags for _, tags in unseen], [output["tags"] for output in told]) > 0.95


def test_a_crf_learns_them_too(tmp_path: Path) -> None:
    lines = run_here(longer(tagged_words.by_a_crf(tmp_path)))

    assert series(lines)["span_f1", max(step for _, step in series(lines))] > 0.9
    assert load_model(final_checkpoint(lines) / "model").description.crf


def test_an_answer_tells_tags_and_spans(trained: Path) -> None:
    tokens = ["Ada", "Paris", "visits", "Paris", "."]

    (output,) = answers(load_predictor(trained).predict, [{"tokens": tokens}])

    assert output["tokens"] == tokens
    assert output["tags"] == ["B-PER", "I-PER", "O", "B-LOC", "O"]
    assert all(0.5 < score <= 1.0 for score in output["scores"])
    assert output["spans"] == [
        {"label": "PER", "start": 0, "end": 2, "text": "Ada Paris"},
        {"label": "LOC", "start": 3, "end": 4, "text": "Paris"},
    ]


def test_a_text_is_cut_into_tokens_and_spans_are_told_as_they_were_written(trained: Path) -> None:
    (output,) = answers(load_predictor(trained).predict, ["Ada   Paris visits Paris."])

    assert output["tokens"] == ["Ada", "Paris", "visits", "Paris", "."]
    assert output["spans"] == [
        {"label": "PER", "start": 0, "end": 11, "text": "Ada   Paris"},
        {"label": "LOC", "start": 19, "end": 24, "text": "Paris"},
    ]


def test_parts_of_a_long_sentence_are_told_together_and_nothing_has_no_tags(trained: Path) -> None:
    words = [word for tokens, _ in tagged_words.sentences(30) for word in tokens]

    long, empty = answers(load_predictor(trained).predict, [{"tokens": words}, " "])

    assert len(long["tags"]) == len(long["scores"]) == len(words)
    assert empty == {"tokens": [], "tags": [], "scores": [], "spans": []}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, 'takes a text or {"tokens": \\[...\\]}, and got 3'),
        ({"words": ["a"]}, "an object with the keys"),
        ({"tokens": []}, "tokens is empty"),
        ({"tokens": ["a", 1]}, "tokens\\[1\\] must be a string"),
        ({"tokens": ["a", " "]}, "tokens\\[1\\] is empty"),
        ({"tokens": ["a" * 200_001]}, "at most 200,000"),
    ],
)
def test_what_is_no_sentence_is_refused(trained: Path, value: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        answers(load_predictor(trained).predict, [value])


def test_metrics_are_those_of_whole_sentences() -> None:
    told = ToldTags(TAGS)
    batch = {"tags": [[3, -100], [1, 2]], "num_words": [1, 2], "example": [1, 0], "sentence": [0, 0]}
    told.add({name: torch.tensor(values) for name, values in batch.items()}, torch.tensor([[2, 0], [1, 2]]))

    # Given A A | B, told A A | A: one span of three words, where there are two.
    assert told.metrics() == {"accuracy": pytest.approx(2 / 3), "span_f1": 0.0}


def test_tags_that_are_not_bio_have_no_spans(tmp_path: Path) -> None:
    assignment = tagged_words.from_a_masked_language_model(tmp_path)
    plain = [(tokens, [tag[2:] or "NONE" for tag in tags]) for tokens, tags in tagged_words.sentences()]
    dataset = tagged_words.tagged_tokens(tmp_path, plain, "plain.jsonl")
    method = prepared(assignment.model_copy(update={"dataset": dataset}))
    (tmp_path / "model").mkdir()
    method.export(tmp_path / "model")

    assert method.evaluate().keys() == {"validation_loss", "accuracy"}
    (output,) = answers(load_predictor(tmp_path / "model").predict, ["Ada sings"])
    assert output["spans"] == []


def test_validation_loss_is_the_mean_over_words(tmp_path: Path) -> None:
    """The oracle asks the module for one sentence at a time."""
    method = prepared(tagged_words.from_a_masked_language_model(tmp_path))
    assert isinstance(method, SequenceLabelingMethod)
    module, validation = method.model.eval(), method._validation
    losses: list[float] = []
    with torch.no_grad():
        for place in range(len(validation)):
            batch = validation.gather(np.array([place]))
            likelihoods = module(batch)[0].log_softmax(1)
            losses += [-likelihoods[word, tag].item() for word, tag in enumerate(batch["tags"][0].tolist())]

    assert method.evaluate()["validation_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_a_crf_over_too_many_tags_is_refused(tmp_path: Path) -> None:
    assignment = tagged_words.by_a_crf(tmp_path)
    many = [([f"w{number}"], [f"t{number}"]) for number in range(300)]
    dataset = tagged_words.tagged_tokens(tmp_path, many, "many.jsonl")

    with pytest.raises(BadData, match="300 tags; a CRF"):
        prepared(assignment.model_copy(update={"dataset": dataset}))


@pytest.mark.filterwarnings("ignore")
def test_span_f1_is_that_of_seqeval() -> None:
    from seqeval.metrics import f1_score  # noqa: PLC0415  brings scikit-learn with it
    from seqeval.scheme import IOB2  # noqa: PLC0415

    rng = np.random.default_rng(0)
    for _ in range(20):
        given, told = (
            [mended([str(tag) for tag in rng.choice(TAGS, size=length)]) for length in (1, 4, 9)] for _ in range(2)
        )
        assert span_f1(given, told) == pytest.approx(f1_score(given, told, mode="strict", scheme=IOB2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("make", "stock"),
    [
        (tagged_words.from_a_masked_language_model, "ModernBertForTokenClassification"),
        (tagged_words.from_a_language_model, "LlamaForTokenClassification"),
    ],
)
def test_transformers_loads_it_with_the_same_logits(make: Any, stock: str, tmp_path: Path) -> None:
    from transformers import AutoModelForTokenClassification  # noqa: PLC0415  seconds, for this test alone

    method = prepared(make(tmp_path / "job"))
    assert isinstance(method, SequenceLabelingMethod)
    with torch.no_grad():
        for parameter in method.model.parameters():
            parameter.mul_(3.0)  # so large that whatever is out of place shows
    (tmp_path / "model").mkdir()
    method.export(tmp_path / "model")
    batch = method.train_data.micro_batches(0)[0]
    mask = torch.arange(batch["tokens"].shape[1]) < batch["lengths"][:, None]

    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path / "model")

    assert type(theirs).__name__ == stock
    assert tuple(theirs.config.id2label.values()) == method.describe().labels
    with torch.no_grad():
        logits = theirs(batch["tokens"], mask.long()).logits
        told = logits.gather(1, batch["places"][:, :, None].expand(-1, -1, logits.shape[2]))
        ours = method.model.eval()(batch)
    words = torch.arange(ours.shape[1]) < batch["num_words"][:, None]
    assert ours.std() > 0.1
    torch.testing.assert_close(told[words], ours[words], rtol=0, atol=1e-4)
