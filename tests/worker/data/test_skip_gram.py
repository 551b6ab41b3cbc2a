"""Centres, contexts and negatives, against the text that they are drawn from."""

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.data.skip_gram import SkipGramSampler, sampled_windows
from worker.data.windows import Windows, WindowSource

NO_WORD, VOCABULARY, WINDOW = 0, 50, 3


@pytest.fixture
def stretches() -> NDArray[np.int64]:
    """Word 1 makes half of them; between, the others."""
    stretches = np.random.default_rng(0).integers(2, VOCABULARY, (200, 40))
    stretches[:, ::2] = 1
    stretches[:, 10] = NO_WORD
    return stretches


@pytest.fixture
def counts(stretches: NDArray[np.int64]) -> NDArray[np.int64]:
    counts = np.bincount(stretches.ravel(), minlength=VOCABULARY)
    counts[NO_WORD] = 0
    return counts


def drawn(
    counts: NDArray[np.int64], stretches: NDArray[np.int64], subsampling: float | None = None
) -> dict[str, NDArray[np.int64]]:
    sampler = SkipGramSampler.of(counts, WINDOW, num_negatives=4, subsampling=subsampling)
    return {name: tensor.numpy() for name, tensor in sampler.sample(stretches, np.random.default_rng(1)).items()}


def test_contexts_are_the_words_around_a_centre_nearer_ones_more_often(counts: NDArray[np.int64]) -> None:
    line = np.arange(1, 41)[None]  # each word says where it stands
    batch = drawn(counts, np.repeat(line, 300, axis=0))

    distances = (batch["contexts"] - batch["centers"][:, None])[batch["present"]]
    assert batch["centers"].min() == 1
    assert set(distances) == {-3, -2, -1, 1, 2, 3}
    share = {distance: (np.abs(distances) == distance).mean() for distance in (1, 2, 3)}
    assert share[2] / share[1] == pytest.approx(2 / 3, rel=0.1)
    assert share[3] / share[1] == pytest.approx(1 / 3, rel=0.1)


def test_no_pair_reaches_from_one_stretch_into_another(counts: NDArray[np.int64]) -> None:
    stretches = np.repeat(np.arange(1, 41)[:, None], 5, axis=1)  # each stretch a word of its own
    batch = drawn(counts, stretches)
    assert (batch["contexts"] == batch["centers"][:, None])[batch["present"]].all()
    assert batch["present"].any(1).all()


def test_what_is_no_word_is_in_no_pair_and_no_negative(counts: NDArray[np.int64], stretches: NDArray[np.int64]) -> None:
    batch = drawn(counts, stretches)
    assert not (batch["centers"] == NO_WORD).any()
    assert not (batch["contexts"][batch["present"]] == NO_WORD).any()
    assert not (batch["negatives"] == NO_WORD).any()


def test_frequent_words_are_dropped_as_equation_5_says(counts: NDArray[np.int64], stretches: NDArray[np.int64]) -> None:
    """Word 1, half of the text, stays with sqrt(0.04 / 0.51); the others, 2 % of it at most, all stay."""
    batch = drawn(counts, stretches, subsampling=0.04)
    kept = (batch["centers"] == 1).sum() / counts[1]
    assert kept == pytest.approx(np.sqrt(0.04 * counts.sum() / counts[1]), rel=0.1)
    assert (batch["centers"] != 1).sum() == pytest.approx(counts[2:].sum(), rel=0.01)


def test_negatives_follow_the_counts_to_the_power_of_three_quarters(
    counts: NDArray[np.int64], stretches: NDArray[np.int64]
) -> None:
    negatives = drawn(counts, stretches)["negatives"]
    expected = counts[1] ** 0.75 / (counts**0.75).sum()
    assert (negatives == 1).mean() == pytest.approx(expected, rel=0.05)


def test_a_text_without_pairs_gives_an_empty_batch(counts: NDArray[np.int64]) -> None:
    batch = drawn(counts, np.array([[NO_WORD, 5, NO_WORD]]))
    assert [len(array) for array in batch.values()] == [0, 0, 0, 0]


def test_a_stretch_is_sampled_otherwise_whenever_it_comes(counts: NDArray[np.int64]) -> None:
    tokens = np.random.default_rng(0).integers(1, VOCABULARY, 64).astype(np.uint16)
    source = WindowSource(Windows(tokens, NO_WORD, length=64), batch_size=1, num_micro_batches=1, seed=0)
    steps = sampled_windows(source, SkipGramSampler.of(counts, WINDOW, 4, None), seed=0)
    assert not np.array_equal(steps.micro_batches(0)[0]["negatives"], steps.micro_batches(1)[0]["negatives"])
