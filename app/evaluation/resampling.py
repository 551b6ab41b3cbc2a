"""Sums over resampled units: all that intervals and tests are made of.

Legend: G units or groups of them, K columns, R resamples.
"""

import numpy as np

from app.contract.evaluations import CONFIDENCE
from app.evaluation.sheet import Numbers

#: Counts that are held at a time: 16 MiB.
_HELD_NUMBERS = 1 << 21


def resampled(columns: Numbers, resamples: int, seed: int) -> Numbers:
    """The sums of G rows drawn with replacement, R times over (Efron 1979): [G, K] -> [R, K]"""
    num_rows = len(columns)
    rng = np.random.default_rng(seed)

    def counts(num_draws: int) -> Numbers:
        draws = (rng.integers(num_rows, size=num_rows) for _ in range(num_draws))
        return np.stack([np.bincount(draw, minlength=num_rows) for draw in draws]).astype(np.float64)

    return np.concatenate([counts(num) @ columns for num in _chunks(resamples, num_rows)])


def exchanged(columns: Numbers, resamples: int, seed: int) -> Numbers:
    """The sums where each row counts or does not, by the toss of a coin: [G, K] -> [R, K]"""
    rng = np.random.default_rng(seed)
    shape = len(columns)
    return np.concatenate(
        [
            rng.integers(2, size=(num, shape), dtype=np.int8).astype(np.float64) @ columns
            for num in _chunks(resamples, shape)
        ]
    )


def bounds(figures: Numbers) -> tuple[float, float]:
    """What all but the outermost figures lie within, by their percentiles: [R]"""
    outside = (100 - CONFIDENCE) / 2
    low, high = np.percentile(figures, [outside, 100 - outside])
    return float(low), float(high)


def _chunks(resamples: int, num_rows: int) -> list[int]:
    size = max(1, _HELD_NUMBERS // num_rows)
    return [min(size, resamples - start) for start in range(0, resamples, size)]
