"""Cuts a data set into a training and a validation side. Knows keys and strata, not what an example is.

Legend: N examples, G groups of equal examples.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
