"""Splitting: stratified, seeded, and duplicates on one side."""

import numpy as np
import pytest

from worker.data.failures import BadData
from worker.data.splits import Split, content_keys, fold, split


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


def folds(
    keys: "np.ndarray[tuple[int], np.dtype[np.uint64]]",
    count: int,
    strata: "np.ndarray[tuple[int], np.dtype[np.int64]] | None" = None,
    groups: "np.ndarray[tuple[int], np.dtype[np.int64]] | None" = None,
    seed: int = 0,
) -> list[Split]:
    return [fold(keys, strata, groups, count=count, index=index, seed=seed) for index in range(count)]


def test_every_example_is_in_exactly_one_fold_and_trains_in_the_others() -> None:
    cuts = folds(distinct_keys(103), 5)

    assert sorted(np.concatenate([cut.validation for cut in cuts])) == list(range(103))
    assert all(sorted([*cut.train, *cut.validation]) == list(range(103)) for cut in cuts)
    assert {len(cut.validation) for cut in cuts} == {20, 21}


def test_each_fold_has_its_share_of_each_label() -> None:
    strata = np.repeat([0, 1, 2], [80, 15, 5]).astype(np.int64)

    for cut in folds(distinct_keys(100), 5, strata):
        assert np.bincount(strata[cut.validation]).tolist() == [16, 3, 1]


def test_neither_duplicates_nor_groups_nor_chains_of_both_are_parted() -> None:
    keys = content_keys(f"text {number // 2}".encode() for number in range(200))  # pairs (0, 1), (2, 3)...
    groups = ((np.arange(200) + 1) // 2 % 40).astype(np.int64)  # ... that groups join to chains
    whole = np.zeros(200, np.int64)

    assert len(np.unique(groups)) == 40
    with pytest.raises(BadData, match=r"3 folds need 3 groups of examples that may be parted, and there are 1:"):
        folds(keys, 3, groups=groups)
    with pytest.raises(BadData, match="there are 1"):
        folds(keys, 2, groups=whole)
    apart = (np.arange(200) // 20).astype(np.int64)
    for cut in folds(keys, 5, groups=apart):
        assert len(cut.validation) == 40
        assert not set(keys[cut.train]) & set(keys[cut.validation])
        assert not set(apart[cut.train]) & set(apart[cut.validation])


def test_large_groups_are_spread_so_that_folds_are_even() -> None:
    groups = np.repeat(np.arange(8), [30, 20, 10, 10, 10, 10, 5, 5]).astype(np.int64)

    sizes = sorted(len(cut.validation) for cut in folds(distinct_keys(100), 3, groups=groups))

    assert sizes == [30, 35, 35]


def test_the_seed_decides_the_folds() -> None:
    keys = distinct_keys(50)

    assert np.array_equal(folds(keys, 2, seed=7)[0].validation, folds(keys, 2, seed=7)[0].validation)
    assert not np.array_equal(folds(keys, 2, seed=7)[0].validation, folds(keys, 2, seed=8)[0].validation)
