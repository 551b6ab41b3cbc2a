"""The order of examples: every epoch whole, batches of like length, and nothing remembered between calls."""

import numpy as np
import pytest

from worker.data.order import BucketedOrder, Order, ShuffledOrder

LENGTHS = np.random.default_rng(0).lognormal(3.0, 1.0, 1_000).astype(np.int64) + 1


def make_order(kind: str, seed: int = 5) -> Order:
    return ShuffledOrder(1_000, 16, seed) if kind == "shuffled" else BucketedOrder(LENGTHS, 16, seed)


@pytest.mark.parametrize("kind", ["shuffled", "bucketed"])
def test_batch_k_does_not_depend_on_what_was_asked_before(kind: str) -> None:
    straight = make_order(kind)
    batches = [straight.batch(k) for k in range(200)]

    for k in (199, 3, 77, 76, 0):
        assert np.array_equal(make_order(kind).batch(k), batches[k])


@pytest.mark.parametrize("kind", ["shuffled", "bucketed"])
def test_every_example_comes_once_before_any_comes_again(kind: str) -> None:
    order = make_order(kind)

    seen = np.concatenate([order.batch(k) for k in range(125)])  # 2 epochs: windows of 50 batches reach over the end

    counts = np.bincount(seen, minlength=1_000)
    assert counts.min() >= 1
    assert counts.max() <= 3


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    order = ShuffledOrder(64, 16, seed=0)
    first, second = (np.concatenate([order.batch(4 * epoch + k) for k in range(4)]) for epoch in range(2))

    assert sorted(first) == sorted(second) == list(range(64))
    assert not np.array_equal(first, second)


def test_a_batch_may_be_larger_than_the_data_set() -> None:
    batch = ShuffledOrder(3, 8, seed=0).batch(0)

    assert np.bincount(batch).tolist() in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_bucketing_leaves_little_padding() -> None:
    def padding(order: Order) -> float:
        lengths = [LENGTHS[order.batch(k)] for k in range(60)]
        return float(1.0 - sum(batch.sum() for batch in lengths) / sum(batch.max() * len(batch) for batch in lengths))

    assert padding(make_order("shuffled")) > 0.6
    assert padding(make_order("bucketed")) < 0.2


def test_bucketed_batches_come_in_mixed_order_of_length() -> None:
    longest = [int(LENGTHS[make_order("bucketed").batch(k)].max()) for k in range(50)]

    assert longest != sorted(longest)


def test_a_batch_of_a_small_data_set_holds_no_example_twice() -> None:
    order = BucketedOrder(np.arange(100, dtype=np.int64), 32, seed=0)

    assert all(len(set(order.batch(k))) == 32 for k in range(3))
