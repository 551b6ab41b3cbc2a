"""One trial: the job in short, from its own first weights, on its first batches, judged by its validation loss.

It computes uncompiled, so that nothing of it stays in the compiler's caches, and writes nothing.
"""

import gc
import math
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Literal

import torch

from app.contract.auto import with_values
from app.contract.messages import Resolved
from app.contract.search import Candidate
from app.contract.specs.training import TrainingOptions
from app.contract.trials import Trial
from worker.training.failures import LossNotFinite, is_out_of_memory
from worker.training.feeder import batches
from worker.training.learner import Learner
from worker.training.precision import Compute
from worker.training.progress import Progress, checked
from worker.training.protocols import Method

#: Makes the job's method anew, with other options and the weights that the seed draws.
Build = Callable[[TrainingOptions], Method]

CURVE_POINTS = 20
#: Times the loss of the first steps, from where no short run returns.
DIVERGED = 10.0


class Stopped(Exception):
    """The job is asked to end; the trial is worth nothing."""


class Diverged(Exception):
    """The training loss is far over the first."""


class TrialRun:
    """Made once for each trial, run once. `options` and `resolved` are those of the job that takes the defaults;
    `tell` hears now and then of a step."""

    def __init__(
        self,
        build: Build,
        options: TrainingOptions,
        candidate: Candidate,
        resolved: Resolved,
        *,
        stop: threading.Event,
        tell: Callable[[int], None],
    ) -> None:
        self._build = build
        self._options = _compressed(with_values(options, *candidate.values), candidate.steps, resolved.total_steps)
        self._candidate = candidate
        self._resolved = _shortened(resolved, candidate.steps)
        self._stop = stop
        self._tell = tell
        self._progress = Progress()
        self._curve: list[tuple[int, float]] = []

    def run(self) -> Trial:
        """Raises Stopped. Where a batch is what is tried, it may be too large for the memory."""
        try:
            return self._trial(self._score())
        except (LossNotFinite, Diverged):
            return self._trial(None, "diverged")
        except Exception as error:
            if self._candidate.field == "batch_size" and is_out_of_memory(error):
                return self._trial(None, "out_of_memory")
            raise
        finally:
            gc.collect()
            if self._resolved.device == "cuda":
                torch.cuda.empty_cache()

    def _score(self) -> float:
        method = self._build(self._options)
        learner = Learner(method, self._options, self._resolved)
        steps, device = range(self._candidate.steps), Compute.of(self._resolved).device
        with closing(batches(method.train_data, steps, device)) as feed:
            for step, micro_batches in zip(steps, feed, strict=True):
                if self._stop.is_set():
                    raise Stopped
                self._progress.add(learner.step(step, micro_batches))
                self._look()
        return checked(learner.evaluate(), self._progress.step)["validation_loss"]

    def _look(self) -> None:
        """Raises LossNotFinite and Diverged."""
        step, steps = self._progress.step, self._candidate.steps
        if step % math.ceil(steps / CURVE_POINTS) and step != steps:
            return
        loss = self._progress.take_means()["train_loss"]
        self._curve.append((step, loss))
        if loss > DIVERGED * abs(self._curve[0][1]):
            raise Diverged
        self._tell(step)

    def _trial(self, score: float | None, cut: Literal["diverged", "out_of_memory"] | None = None) -> Trial:
        return Trial(
            field=self._candidate.field,
            learning_rate=self._candidate.values.learning_rate,
            batch_size=self._candidate.values.batch_size,
            steps=self._candidate.steps,
            score=score,
            stopped_at_step=self._progress.step,
            cut=cut,
            curve=tuple(self._curve),
        )


def _shortened(resolved: Resolved, steps: int) -> Resolved:
    return resolved.model_copy(
        update={"total_steps": steps, "evaluate_every_steps": steps, "checkpoint_every_steps": steps, "compile": False}
    )


def _compressed(options: TrainingOptions, steps: int, total_steps: int) -> TrainingOptions:
    """The whole schedule in `steps`: what of it is warm-up, stays the same share."""
    warmup_steps = round(options.schedule.warmup_steps * min(1.0, steps / total_steps))
    return options.model_copy(update={"schedule": options.schedule.model_copy(update={"warmup_steps": warmup_steps})})
