"""What adds up over units, as a matrix: figures of all units, or of any resample of them, are functions of its sums.

Many units are put together by chance into groups of like size, and groups are resampled in their place: the sum of a
group varies as those of its units do, so intervals stay what they are, and time and memory stay bounded.

Legend: N units, G groups, K columns.
"""

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

#: The width of an interval over so many is known to about half a percent.
MAX_GROUPS = 20_000
MAX_NUMBERS = 20_000_000
MIN_GROUPS = 1_000
_SEED = 0


class Sheet:
    """Columns are added one by one. Sheets of as many units and as many columns have the same groups."""

    def __init__(self, num_units: int, width: int) -> None:
        self._num_units = num_units
        self._num_groups = min(num_units, MAX_GROUPS, max(MIN_GROUPS, MAX_NUMBERS // width))
        self._group = _groups(num_units, self._num_groups)
        self._columns: list[Numbers] = []
        self._width = 0

    @property
    def columns(self) -> Numbers:
        """float64 [G, K]"""
        return np.concatenate(self._columns, axis=1)

    def add(self, values: NDArray[np.number]) -> int:
        """One column, [N] -> its place"""
        sums: Numbers = np.bincount(self._group, values, self._num_groups).astype(np.float64)
        return self._added(sums[:, None])

    def add_each(self, values: NDArray[np.number]) -> slice:
        """Several, [N, k] -> their places"""
        if self._num_groups == self._num_units:
            return self._several(values.astype(np.float64))
        sums = np.zeros((self._num_groups, values.shape[1]))
        np.add.at(sums, self._group, values)
        return self._several(sums)

    def add_coded(self, codes: NDArray[np.integer], num_codes: int, weights: NDArray[np.number] | None = None) -> slice:
        """A column for each code, in which the units that have it weigh 1 or their weight: [N] -> their places"""
        cells = self._group * num_codes + codes
        sums = np.bincount(cells, weights, self._num_groups * num_codes)
        return self._several(sums.reshape(self._num_groups, num_codes).astype(np.float64))

    def _several(self, columns: Numbers) -> slice:
        start = self._added(columns)
        return slice(start, start + columns.shape[1])

    def _added(self, columns: Numbers) -> int:
        """The place of the first."""
        start, self._width = self._width, self._width + columns.shape[1]
        self._columns.append(columns)
        return start


def _groups(num_units: int, num_groups: int) -> NDArray[np.int64]:
    """The group of each unit: its own where there are as many."""
    if num_groups == num_units:
        return np.arange(num_units)
    return np.random.default_rng(_SEED).permutation(num_units) % num_groups
