"""Centres, contexts and negatives out of stretches of text, as skip-gram takes them (Mikolov et al. 2013b).

In a stretch frequent words are first dropped by chance, and words that are none (specials, unknown) always; so windows
reach over the gaps. Then each word takes as its contexts the words up to b places away, b drawn up to the window.
All of it is a pure function of the seed and the step.

Legend: B batch, T tokens, C centres, W window, K negatives, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.data.redrawn import RedrawnSteps
from worker.data.windows import Windows, WindowSource

#: Mikolov et al. 2013b, section 2.2: better than the unigram distribution itself and than the uniform one.
NEGATIVE_POWER = 0.75


@dataclass(frozen=True, slots=True)
class SkipGramSampler:
    """kept: float64 [V], the chance of a word to be kept; cumulative: float64 [V], of negatives."""

    kept: NDArray[np.float64]
    cumulative: NDArray[np.float64]
    window: int
    num_negatives: int

    @classmethod
    def of(
        cls, counts: NDArray[np.int64], window: int, num_negatives: int, subsampling: float | None
    ) -> "SkipGramSampler":
        """counts: int64 [V], zero for what is no word. Equation 5: a word of frequency f stays with sqrt(t / f)."""
        frequencies = counts / max(1, counts.sum())
        with np.errstate(divide="ignore"):
            chance = np.ones(len(counts)) if subsampling is None else np.sqrt(subsampling / frequencies)
        weights = counts.astype(np.float64) ** NEGATIVE_POWER
        return cls(np.where(counts > 0, chance, 0.0), np.cumsum(weights) / weights.sum(), window, num_negatives)

    def sample(self, stretches: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Tensor]:
        """int64 [B, T] -> centers [C], contexts [C, 2 W], present [C, 2 W], negatives [C, K]"""
        keep = rng.random(stretches.shape) < self.kept[stretches]
        words, stretch = stretches[keep], np.nonzero(keep)[0]
        contexts, present = self._contexts(words, stretch, rng)
        lonely = ~present.any(1)
        centers = words[~lonely]
        chances = rng.random((len(centers), self.num_negatives))
        arrays = {
            "centers": centers,
            "contexts": contexts[~lonely],
            "present": present[~lonely],
            "negatives": np.searchsorted(self.cumulative, chances, side="right"),
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _contexts(
        self, words: NDArray[np.int64], stretch: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Of each word the words at the distances -W to -1 and 1 to W, and whether they are its contexts."""
        distances = np.array([distance for distance in range(-self.window, self.window + 1) if distance])
        places = np.arange(len(words))[:, None] + distances
        inside = places.clip(0, max(0, len(words) - 1))
        reach = rng.integers(1, self.window + 1, size=(len(words), 1))
        present = (places == inside) & (stretch[inside] == stretch[:, None]) & (np.abs(distances) <= reach)
        return words[inside], present


def sampled_windows(source: WindowSource, sampler: SkipGramSampler, seed: int) -> RedrawnSteps:
    """Steps of shuffled stretches, sampled anew whenever they come."""
    return RedrawnSteps(source, lambda batch, rng: sampler.sample(batch["targets"].numpy(), rng), seed)


def sampled_for_evaluation(
    windows: Windows, sampler: SkipGramSampler, max_tokens: int, batch_size: int
) -> Iterator[dict[str, Tensor]]:
    """Stretches from all over the text, sampled alike every time."""
    rng = np.random.default_rng(0)
    for batch in windows.evenly_spaced(max_tokens, batch_size):
        yield sampler.sample(batch["targets"].numpy(), rng)
