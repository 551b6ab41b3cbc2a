"""Two ways of learning, compared over the same seeds: what differs by chance alone cancels within a pair."""

from collections.abc import Callable
from math import sqrt
from statistics import mean, stdev
from typing import NamedTuple

SEEDS = range(5)
#: 95 % of Student's t with 4 degrees of freedom lie within.
_T = 2.776


class Difference(NamedTuple):
    """The mean difference, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_difference(first: Callable[[int], float], second: Callable[[int], float]) -> Difference:
    """first(seed) - second(seed), over all `SEEDS`."""
    differences = [first(seed) - second(seed) for seed in SEEDS]
    middle, reach = mean(differences), _T * stdev(differences) / sqrt(len(differences))
    return Difference(middle, middle - reach, middle + reach)
