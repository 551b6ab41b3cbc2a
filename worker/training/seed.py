"""Randomness as a function of the seed and the step: dropout in step k does not depend on what ran before it.

So no random state needs to be kept: a run that resumes at step k draws what it would have drawn.
"""

import numpy as np
import torch

_PREPARATION, _STEP = 0, 1


def seed_preparation(seed: int) -> None:
    """Before weights are drawn."""
    torch.manual_seed(_derived(seed, _PREPARATION, 0))


def seed_step(seed: int, step: int) -> None:
    torch.manual_seed(_derived(seed, _STEP, step))


def _derived(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
