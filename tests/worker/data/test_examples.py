"""Examples in batches: padding, buckets, labels as numbers, and texts through the cache."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.contract.messages import DatasetInput
from app.contract.specs.tokenizers import BpeTokenizer
from tests.contract.datasets import dataset
from worker.data.answered_text import read_answered_text
from worker.data.arrays import read_array_data
from worker.data.examples import ArrayExamples, DataSet, Subset, TextExamples
from worker.data.failures import BadData
from worker.data.labels import CodedLabels
from worker.data.steps import ExampleSteps
from worker.data.tokenizers import begin_token, learn_tokenizer

TEXTS = ["good", "bad and longer than the others", "naïve 東京", "so so"]
TOKENIZER = learn_tokenizer(TEXTS * 5, BpeTokenizer(vocab_size=300))


def jsonl(folder: Path, rows: list[dict[str, Any]], kind: str) -> DatasetInput:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return dataset(path, kind)


def read_text(folder: Path, answers: list[Any], field: str, kind: str, max_tokens: int = 100) -> DataSet:
    rows = [{"text": text, field: answer} for text, answer in zip(TEXTS, answers, strict=True)]
    return read_answered_text(jsonl(folder, rows, kind), TOKENIZER, max_tokens, folder / "cache", lambda _: None)


def test_labels_ascend_and_keep_their_type() -> None:
    labels = CodedLabels.of(iter([30, 4, 30, 200]))

    assert labels.names == (4, 30, 200)
    assert labels.codes.tolist() == [1, 0, 1, 2]


def test_labels_are_coded_by_the_names_of_another_data_set() -> None:
    assert CodedLabels.of(["b", "a", "b"]).coded_by(("a", "aa", "b")).tolist() == [2, 0, 2]


@pytest.mark.parametrize(("given", "taught"), [([1, 2], ("1", "2")), ([True], (0, 1)), (["c", "a"], ("a", "b"))])
def test_a_label_that_training_never_shows_is_named(given: list[Any], taught: tuple[Any, ...]) -> None:
    with pytest.raises(BadData, match=f"never show: {given[0]!r}"):
        CodedLabels.of(given).coded_by(taught)


def test_texts_are_cut_padded_and_answered(tmp_path: Path) -> None:
    data = read_text(tmp_path, ["x", "y", "y", "x"], "label", "labeled_text", max_tokens=6)
    assert data.labels is not None
    batch = data.all_with({"labels": data.labels.codes}).gather(np.array([1, 0]))

    for row, text in enumerate([TEXTS[1], TEXTS[0]]):
        tokens = [begin_token(TOKENIZER), *TOKENIZER.encode(text, add_special_tokens=False).ids][:6]
        assert batch["lengths"][row] == len(tokens)
        assert batch["tokens"][row].tolist() == tokens + [0] * (batch["tokens"].shape[1] - len(tokens))
    assert batch["labels"].tolist() == [1, 0]


def test_the_cache_gives_what_was_read(tmp_path: Path) -> None:
    first = read_text(tmp_path, [3, 1, 2, 1], "label", "labeled_text")
    again = read_text(tmp_path, [3, 1, 2, 1], "label", "labeled_text")

    assert len(list((tmp_path / "cache" / "answered-text").glob("*.bin"))) == 1
    assert first.labels is not None
    assert again.labels is not None
    assert first.labels.names == again.labels.names == (1, 2, 3)
    assert first.labels.codes.tolist() == again.labels.codes.tolist() == [2, 0, 1, 0]
    everything = np.arange(4)
    assert torch.equal(first.examples.gather(everything)["tokens"], again.examples.gather(everything)["tokens"])


def test_targets_of_texts_are_numbers(tmp_path: Path) -> None:
    data = read_text(tmp_path, [0.5, -2, 1e9, 0], "target", "scored_text")

    assert data.labels is None
    assert data.targets is not None
    np.testing.assert_array_equal(data.targets, np.array([[0.5], [-2], [1e9], [0]], np.float32))


def test_vectors_of_another_width_are_refused(tmp_path: Path) -> None:
    rows = [{"features": [1.0, 2.0, 3.0]}]
    with pytest.raises(BadData, match="has 3 features, and this model reads 4 features"):
        read_array_data(jsonl(tmp_path, rows, "vectors"), (4,))


def test_a_pass_over_a_subset_takes_each_example_once_those_of_like_length_together() -> None:
    lengths = np.array([5, 1, 4, 2, 3, 9])
    examples = TextExamples(np.arange(lengths.sum()), np.concatenate([[0], lengths.cumsum()]))
    subset = Subset(examples, np.array([0, 1, 3, 4, 5]))

    batches = [batch["lengths"].tolist() for batch in subset.batches(2)]

    assert batches == [[1, 2], [3, 5], [9]]


def test_a_step_takes_its_examples_in_micro_batches() -> None:
    subset = Subset(ArrayExamples(np.arange(20, dtype=np.float32)[:, None]), np.arange(5, 15))
    steps = ExampleSteps(subset, batch_size=5, num_micro_batches=2, seed=3)

    epoch = [batch["inputs"].flatten().tolist() for step in range(2) for batch in steps.micro_batches(step)]

    assert [len(batch) for batch in epoch] == [3, 2, 3, 2]
    assert sorted(chain.from_iterable(epoch)) == list(range(5, 15))
    assert steps.steps_per_epoch == 2
    assert steps.tokens_per_step is None
