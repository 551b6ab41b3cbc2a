"""Cuts a data set into a training and a validation side. Knows keys and strata, not what an example is.

Legend: N examples, G groups of equal examples.
"""

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.data.failures import BadData

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Indices into the data set, ascending; every example is on one side."""

    train: Indices
    validation: Indices


def content_keys(contents: Iterable[bytes]) -> NDArray[np.uint64]:
    """A key an example, equal for equal content: 64 bits of BLAKE2b. A chance meeting would only join two groups."""
    digests = b"".join(hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.frombuffer(digests, dtype=np.uint64)


def split(keys: NDArray[np.uint64], strata: NDArray[np.int64] | None, fraction: float, seed: int) -> Split:
    """Put about `fraction` of each stratum (of all, where there are none) on the validation side, at random.

    Examples of equal key are duplicates and stay together, so that nothing validated was trained on; a group counts
    for the stratum of its first member. Every stratum keeps a group for training, and where `fraction` asks for
    validation at all, at least one example goes there if there are two groups to part.
    """
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    group_sizes = np.bincount(group)
    group_strata = np.zeros(len(first), np.int64) if strata is None else strata[first]
    rng = np.random.default_rng([seed, len(keys)])
    chosen = _choose_groups(group_sizes, group_strata, fraction, rng)
    is_validation = chosen[group]
    return Split(np.flatnonzero(~is_validation), np.flatnonzero(is_validation))


def fold(
    keys: NDArray[np.uint64],
    strata: NDArray[np.int64] | None,
    groups: NDArray[np.int64] | None,
    *,
    count: int,
    index: int,
    seed: int,
) -> Split:
    """Put the examples of the fold `index` of `count` on the validation side.

    As in `split`, duplicates stay together and count for the stratum of the first; so do examples of one of `groups`.
    Each stratum is spread evenly over the folds, and each fold gets about as many examples. Raises BadData where there
    is not a group for each fold.
    """
    _, first, group = np.unique(_joined(keys, groups), return_index=True, return_inverse=True)
    if len(first) < count:
        raise BadData(
            f"{count} folds need {count} groups of examples that may be parted, and there are {len(first)}: equal "
            "examples stay together, and so do those of one group. Ask for fewer folds, or give more data."
        )
    group_strata = np.zeros(len(first), np.int64) if strata is None else strata[first]
    chosen = _dealt(np.bincount(group), group_strata, count, np.random.default_rng([seed, len(keys)])) == index
    is_validation = chosen[group]
    return Split(np.flatnonzero(~is_validation), np.flatnonzero(is_validation))


def _joined(keys: NDArray[np.uint64], groups: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """int64 [N], equal for examples that a chain of equal keys and equal groups connects."""
    _, parts = np.unique(keys, return_inverse=True)
    if groups is None:
        return parts
    joined = groups
    while True:
        wider = _lowest_within(_lowest_within(joined, parts), groups)
        if np.array_equal(wider, joined):
            return joined
        joined = wider


def _lowest_within(values: NDArray[np.int64], parts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lowest of the values in the part of each: int64 [N]"""
    lowest = np.full(parts.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(lowest, parts, values)
    return lowest[parts]


def _dealt(
    sizes: NDArray[np.int64], strata: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The fold of each group: int64 [G]. Of each stratum the largest groups first, each to the fold that has the least
    of that stratum and then of all."""
    folds, totals = np.empty(len(sizes), np.int64), [0] * count
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        open_folds = [(0, totals[number], number) for number in range(count)]
        heapq.heapify(open_folds)
        for member in members[np.argsort(-sizes[members], kind="stable")]:
            of_stratum, _, number = open_folds[0]
            size = int(sizes[member])
            folds[member], totals[number] = number, totals[number] + size
            heapq.heapreplace(open_folds, (of_stratum + size, totals[number], number))
    return folds


def _choose_groups(
    sizes: NDArray[np.int64], strata: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which groups are validated: bool [G]"""
    chosen = np.zeros(len(sizes), np.bool_)
    owed = 0.0  # what rounding kept from strata so far, so that many small strata still give their share together
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        owed += fraction * sizes[members].sum()
        taken = _fitting(sizes[members], owed)
        chosen[members[taken]] = True
        owed = min(owed - sizes[members[taken]].sum(), 0.5)
    if fraction and not chosen.any():
        chosen[_smallest_of_the_largest_stratum(sizes, strata)] = True
    return chosen


def _fitting(sizes: NDArray[np.int64], room: float) -> NDArray[np.bool_]:
    """The first groups that fit into `room` examples (half an example over is rounding), never all of them."""
    small = sizes <= room + 0.5
    taken: NDArray[np.bool_] = small & (np.cumsum(np.where(small, sizes, 0)) <= room + 0.5)
    if taken.all():
        taken[-1] = False
    return taken


def _smallest_of_the_largest_stratum(sizes: NDArray[np.int64], strata: NDArray[np.int64]) -> Indices:
    """One group, or none where every stratum is a single group."""
    members = np.flatnonzero(strata == np.bincount(strata).argmax())
    return members[[sizes[members].argmin()]] if len(members) > 1 else members[:0]
