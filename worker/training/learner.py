"""A method under its optimizers: what one step is, in a job and in the short trials before it."""

from collections.abc import Mapping, Sequence
from itertools import chain

from torch import Tensor

from app.contract.messages import Resolved
from app.contract.specs.training import TrainingOptions
from worker.training.averaging import MovingAverage
from worker.training.optim import ScheduledOptimizer
from worker.training.protocols import Batch, Method
from worker.training.seed import seed_step


class Learner:
    """Made once for each training of a method, which it starts."""

    def __init__(self, method: Method, options: TrainingOptions, resolved: Resolved) -> None:
        method.start(resolved)
        method.strategy.start(resolved, method.train_data)
        self.method = method
        self._seed = options.seed
        groups = method.parameter_groups()
        self.optimizers = {
            name: ScheduledOptimizer(method.strategy.rated(parameters), options, resolved.total_steps)
            for name, parameters in groups.items()
        }
        self.average = MovingAverage(chain.from_iterable(groups.values()), options.weight_average)
        method.module.train()

    def step(self, step: int, micro_batches: Sequence[Batch]) -> Mapping[str, Tensor]:
        """Step `step` (from 0), from batches on the device. -> scalars to report; no host sync."""
        seed_step(self._seed, step)
        self.method.strategy.begin_step(step)
        for optimizer in self.optimizers.values():
            optimizer.prepare(step)
        values = self.method.train_step(micro_batches, self.optimizers)
        self.average.update(step)
        return values

    def evaluate(self) -> Mapping[str, float]:
        with self.average.applied():
            return self.method.evaluate()
