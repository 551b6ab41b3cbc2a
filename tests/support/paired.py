"""Two ways of training compared on equal seeds: the mean of their differences, and how sure it is."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

SEEDS = range(5)
#: Of Student's t with len(SEEDS) - 1 degrees of freedom: 2.5 % lie beyond it on either side.
_T_QUANTILE = 2.776


@dataclass(frozen=True, slots=True)
class Interval:
    """The mean of paired differences with its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_difference(changed: Callable[[int], float], plain: Callable[[int], float]) -> Interval:
    """What `changed` scores beyond `plain`, each asked with the same seeds."""
    differences = [changed(seed) - plain(seed) for seed in SEEDS]
    reach = _T_QUANTILE * stdev(differences) / sqrt(len(differences))
    return Interval(mean(differences), mean(differences) - reach, mean(differences) + reach)
