"""The learning rate at a step: a pure function, so a resumed run needs no state of it."""

import math
from typing import Literal, assert_never

from app.contract.specs.training import Schedule


def rate_factor(schedule: Schedule, step: int, total_steps: int) -> float:
    """What the peak rate is multiplied by at step `step` (from 0). The last step gets `final_fraction`."""
    if step < schedule.warmup_steps:
        return (step + 1) / (schedule.warmup_steps + 1)
    if schedule.type == "constant":
        return 1.0
    decay_steps = max(1, total_steps - 1 - schedule.warmup_steps)
    done = min(1.0, (step - schedule.warmup_steps) / decay_steps)
    return schedule.final_fraction + (1.0 - schedule.final_fraction) * _shape(schedule.type, done)


def _shape(kind: Literal["linear", "cosine"], done: float) -> float:
    """From 1 at the start to 0 at the end."""
    match kind:
        case "linear":
            return 1.0 - done
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case _:
            assert_never(kind)
