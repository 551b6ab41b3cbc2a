"""Splitting: stratified, seeded, and duplicates on one side."""

import numpy as np
import pytest

from worker.data.splits import content_keys, split


def distinct_keys(count: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return content_keys(str(number).encode() for number in range(count))


def test_every_example_is_on_exactly_one_side() -> None:
    cut = split(distinct_keys(1_000), None, 0.1, seed=3)

    assert sorted([*cut.train, *cut.validation]) == list(range(1_000))
    assert len(cut.validation) == 100


def test_each_label_keeps_its_share_on_both_sides() -> None:
    strata = np.repeat([0, 1, 2], [800, 150, 50]).astype(np.int64)

    cut = split(distinct_keys(1_000), strata, 0.2, seed=0)

    assert np.bincount(strata[cut.validation]).tolist() == [160, 30, 10]


def test_many_rare_labels_give_their_share_together() -> None:
    strata = np.repeat(np.arange(100), 4).astype(np.int64)

    cut = split(distinct_keys(400), strata, 0.1, seed=0)

    assert 35 <= len(cut.validation) <= 45
    assert set(strata[cut.train]) == set(range(100)), "every label is still taught"


def test_duplicates_stay_together() -> None:
    keys = content_keys(f"text {number % 60}".encode() for number in range(300))

    for seed in range(20):
        cut = split(keys, None, 0.3, seed)
        assert len(cut.validation)
        assert not set(keys[cut.train]) & set(keys[cut.validation])


def test_the_seed_decides_the_split() -> None:
    keys = distinct_keys(500)

    assert np.array_equal(split(keys, None, 0.1, 7).validation, split(keys, None, 0.1, 7).validation)
    assert not np.array_equal(split(keys, None, 0.1, 7).validation, split(keys, None, 0.1, 8).validation)


def test_nothing_is_validated_where_nothing_was_asked() -> None:
    assert len(split(distinct_keys(10), None, 0.0, 0).validation) == 0


def test_a_small_data_set_still_gives_one_example_to_validation() -> None:
    assert len(split(distinct_keys(3), None, 0.1, 0).validation) == 1


@pytest.mark.parametrize("count", [1, 5])
def test_a_label_with_one_example_is_never_taken_from_training(count: int) -> None:
    cut = split(distinct_keys(count), np.arange(count, dtype=np.int64), 0.5, 0)

    assert len(cut.train) == count
