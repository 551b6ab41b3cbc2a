"""How far two sets of examples lie apart, as distributions: the Frechet distance of their features.

Legend: n examples, F numbers in one, K features.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

#: The features are the same for every job, so that jobs on the same data compare.
_FEATURE_SEED = 0


@dataclass(frozen=True, slots=True)
class Gaussian:
    """mean: double [K]; covariance: double [K, K]."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def fitted(cls, features: Tensor) -> Self:
        """features: [n, K]"""
        numbers = features.double().cpu()
        mean = numbers.mean(0)
        centred = numbers - mean
        return cls(mean, centred.T @ centred / len(numbers))

    def distance(self, other: Self) -> float:
        """|m - m'|^2 + tr(C + C' - 2 (C C')^1/2), squared as Heusel et al. 2017 report it (Dowson and Landau 1982)."""
        root = _root(self.covariance)
        # C C' has the eigenvalues of C^1/2 C' C^1/2, which is symmetric
        shared = torch.linalg.eigvalsh(root @ other.covariance @ root).clamp(min=0.0).sqrt().sum()
        means = (self.mean - other.mean).square().sum()
        return max(0.0, float(means + self.covariance.trace() + other.covariance.trace() - 2 * shared))


class RandomFeatures:
    """Two ReLU layers of fixed random weights over standardised examples: an embedding that needs no labels and suits
    vectors and images of any size. Unlike the numbers themselves, whose mean and covariance a Gaussian cloud can copy,
    rectified features have means that tell of the whole distribution (as in Rahimi and Recht 2007).
    """

    def __init__(self, num_numbers: int, num_features: int = 64) -> None:
        random = torch.Generator().manual_seed(_FEATURE_SEED)
        widths = [num_numbers, 2 * num_features, num_features]
        self._layers = [
            (
                torch.randn(fan_in, fan_out, generator=random) * math.sqrt(2 / fan_in),
                torch.randn(fan_out, generator=random) / 2,
            )
            for fan_in, fan_out in pairwise(widths)
        ]

    def gaussian(self, standardized: Iterable[Tensor]) -> Gaussian:
        """Of the features of all these examples, given in batches [n, ...]."""
        return Gaussian.fitted(torch.cat([self(batch) for batch in standardized]))

    def __call__(self, standardized: Tensor) -> Tensor:
        """[n, ...] -> [n, K], on the CPU"""
        values = standardized.float().flatten(1).cpu()
        for weight, bias in self._layers:
            values = (values @ weight + bias).relu()
        return values


def _root(matrix: Tensor) -> Tensor:
    """Of a symmetric, positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp(min=0.0).sqrt() @ vectors.T
    return root
