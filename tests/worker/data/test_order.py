"""The order of examples: every epoch whole, batches of like length, and nothing remembered between calls."""

from collections.abc import Callable

import numpy as np
import pytest

from worker.data.order import BucketedOrder, Epochs, Order, StreamedOrder, balanced, down_sampled, shuffled

LENGTHS = np.random.default_rng(0).lognormal(3.0, 1.0, 1_000).astype(np.int64) + 1
#: Three labels, of 10, 190 and 800 examples.
LABELS = np.random.default_rng(0).permutation(np.repeat([2, 7, 4], [10, 190, 800]))
EPOCHS: dict[str, Callable[[int], Epochs]] = {
    "shuffled": lambda seed: shuffled(1_000, seed),
    "balanced": lambda seed: balanced(LABELS, seed),
    "down_sampled": lambda seed: down_sampled(LABELS, seed),
}


def make_order(kind: str, seed: int = 5) -> Order:
    name, _, bucketed = kind.partition("-")
    epochs = EPOCHS[name](seed)
    return BucketedOrder(epochs, LENGTHS, 16, seed) if bucketed else StreamedOrder(epochs, 16)


@pytest.mark.parametrize("kind", ["shuffled", "shuffled-bucketed", "balanced", "down_sampled", "balanced-bucketed"])
def test_batch_k_does_not_depend_on_what_was_asked_before(kind: str) -> None:
    straight = make_order(kind)
    batches = [straight.batch(k) for k in range(200)]

    for k in (199, 3, 77, 76, 0):
        assert np.array_equal(make_order(kind).batch(k), batches[k])


@pytest.mark.parametrize("kind", ["shuffled", "shuffled-bucketed"])
def test_every_example_comes_once_before_any_comes_again(kind: str) -> None:
    order = make_order(kind)

    seen = np.concatenate([order.batch(k) for k in range(125)])  # 2 epochs: windows of 50 batches reach over the end

    counts = np.bincount(seen, minlength=1_000)
    assert counts.min() >= 1
    assert counts.max() <= 3


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    order = StreamedOrder(shuffled(64, seed=0), 16)
    first, second = (np.concatenate([order.batch(4 * epoch + k) for k in range(4)]) for epoch in range(2))

    assert sorted(first) == sorted(second) == list(range(64))
    assert not np.array_equal(first, second)


def test_a_batch_may_be_larger_than_the_data_set() -> None:
    batch = StreamedOrder(shuffled(3, seed=0), 8).batch(0)

    assert np.bincount(batch).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_bucketing_leaves_little_padding() -> None:
    def padding(order: Order) -> float:
        lengths = [LENGTHS[order.batch(k)] for k in range(60)]
        return float(1.0 - sum(batch.sum() for batch in lengths) / sum(batch.max() * len(batch) for batch in lengths))

    assert padding(make_order("shuffled")) > 0.6
    assert padding(make_order("shuffled-bucketed")) < 0.2


def test_bucketed_batches_come_in_mixed_order_of_length() -> None:
    longest = [int(LENGTHS[make_order("shuffled-bucketed").batch(k)].max()) for k in range(50)]

    assert longest != sorted(longest)


def test_a_batch_of_a_small_data_set_holds_no_example_twice() -> None:
    order = BucketedOrder(shuffled(100, seed=0), np.arange(100, dtype=np.int64), 32, seed=0)

    assert all(len(set(order.batch(k))) == 32 for k in range(3))


def test_a_balanced_epoch_draws_every_label_equally_often() -> None:
    epochs = balanced(LABELS, seed=0)
    first, second = (epochs.draw(epoch) for epoch in range(2))

    assert len(first) == epochs.size == 1_000
    assert np.unique(LABELS[first], return_counts=True)[1].tolist() == [334, 333, 333]
    assert len(np.unique(first[LABELS[first] == 2])) == 10, "what is rare comes often"
    assert not np.array_equal(first, second)


def test_a_balanced_epoch_mixes_labels_and_favours_no_example() -> None:
    epochs = balanced(LABELS, seed=0)
    drawn = np.concatenate([epochs.draw(epoch) for epoch in range(100)])

    assert all(len(np.unique(LABELS[drawn[start : start + 50]])) == 3 for start in range(0, 1_000, 50))
    counts = np.bincount(drawn, minlength=1_000)
    for label in (2, 7, 4):
        mine = counts[np.equal(LABELS, label)]
        assert np.abs(mine - mine.mean()).max() < 6 * mine.mean() ** 0.5


def test_a_down_sampled_epoch_has_of_each_label_as_many_as_the_rarest_and_no_example_twice() -> None:
    epochs = down_sampled(LABELS, seed=0)
    drawn = [epochs.draw(epoch) for epoch in range(2)]

    for each in drawn:
        assert len(set(each)) == epochs.size == 30
        assert np.unique(LABELS[each], return_counts=True)[1].tolist() == [10, 10, 10]
    rare, frequent = (([set(each[LABELS[each] == label]) for each in drawn]) for label in (2, 4))
    assert rare[0] == rare[1]
    assert frequent[0] != frequent[1], "each epoch draws others"
