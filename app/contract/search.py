"""Which trials decide a learning rate and a batch size: successive halving (Jamieson and Talwalkar 2016) over a grid
around the method's default. Arithmetic alone: who makes the trials is the worker's business.

Each trial is the whole job in short, its schedule included, and begins anew at every rung: a rate that is cut off in
the middle of a schedule is judged before its steps have become small. So nothing of a trial but its score is kept.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from app.contract.auto import DURATION_FACTOR, searched_fields, settled
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.training import LARGEST_BATCH, LARGEST_RATE, Sgd, TrainingOptions
from app.contract.trials import SearchedField, Trial

#: Of the job's own steps, for all trials; batches of another size count by their examples.
BUDGET_SHARE = 0.2
#: A trial of fewer tells chance.
MIN_TRIAL_STEPS = 10
#: One of so many candidates reaches the next rung, and has so many times the steps there.
ETA = 3
#: Half-decades to each side of the default rate, and powers of two to each side of the default batch: the widest that
#: the budget allows.
RATE_REACHES = (3, 2, 1)
BATCH_REACHES = (2, 1)
#: Batches whose losses are this close, as a share, are as good; the largest of them computes fastest.
AS_GOOD = 0.01


class Values(NamedTuple):
    """What a candidate trains with."""

    learning_rate: float
    batch_size: int


class Candidate(NamedTuple):
    """A trial to make, of `steps` steps of its own batch size."""

    field: SearchedField
    values: Values
    steps: int

    def is_of(self, trial: Trial) -> bool:
        """Whether the trial is this one, made."""
        made = Values(trial.learning_rate, trial.batch_size)
        return (self.field, self.values, self.steps) == (trial.field, made, trial.steps)


class Rung(NamedTuple):
    """`steps` are of the default batch size; another takes as many examples."""

    num_candidates: int
    steps: int


@dataclass(frozen=True, slots=True)
class Search:
    """`defaults` are the options with the method's defaults for what is `auto`; `budget_steps` are for each field."""

    defaults: TrainingOptions
    fields: tuple[SearchedField, ...]
    num_examples: int
    budget_steps: int

    @classmethod
    def of(
        cls, spec: PretrainSpec | FinetuneSpec, total_steps: int, num_examples: int, *, is_judged: bool = True
    ) -> Self:
        """Of a job that takes `total_steps` by the defaults, and has validation examples to judge by or has none."""
        fields = searched_fields(spec.training)
        length = total_steps // DURATION_FACTOR if spec.training.duration == "auto" else total_steps
        share = BUDGET_SHARE / max(1, len(fields)) if is_judged else 0.0
        return cls(settled(spec), fields, num_examples, int(length * share))

    @property
    def num_trials(self) -> int:
        """As many at most: what diverges has no next rung."""
        return sum(rung.num_candidates for field in self.fields for rung in self.rungs(field))

    @property
    def steps(self) -> int:
        """Of all trials at most, in steps of the default batch size."""
        return sum(rung.num_candidates * rung.steps for field in self.fields for rung in self.rungs(field))

    @property
    def skipped(self) -> tuple[SearchedField, ...]:
        """Those that take the default."""
        return tuple(field for field in self.fields if not self.rungs(field))

    def rungs(self, field: SearchedField) -> tuple[Rung, ...]:
        """Empty where the budget does not suffice for the smallest grid: the default is taken."""
        return self._ladder(field, self._start)[1]

    def run(self, make: Callable[[Candidate], Trial]) -> Values:
        """The values that win; `make` trains a candidate."""
        values = self._start
        for field in self.fields:
            grid, rungs = self._ladder(field, values)
            if rungs:
                values = self._winner(field, grid, rungs, make)
        return values

    @property
    def _is_sgd(self) -> bool:
        return isinstance(self.defaults.optimizer, Sgd)

    @property
    def _start(self) -> Values:
        return Values(self.defaults.optimizer.decided_rate, self.defaults.decided_batch_size)

    def _ladder(self, field: SearchedField, start: Values) -> tuple[Sequence[Values], tuple[Rung, ...]]:
        """The widest grid whose shortest trial is long enough."""
        for grid in self._rate_grids(start) if field == "learning_rate" else self._batch_grids(start):
            rungs = _rungs(len(grid), self.budget_steps)
            if len(grid) > 1 and min(self._steps(values, rungs[0]) for values in grid) >= MIN_TRIAL_STEPS:
                return grid, rungs
        return (), ()

    def _rate_grids(self, start: Values) -> list[list[Values]]:
        return [
            [start._replace(learning_rate=rate) for rate in _rates(start.learning_rate, reach)]
            for reach in RATE_REACHES
        ]

    def _batch_grids(self, start: Values) -> list[list[Values]]:
        """A rate that was searched for goes with the batch; one that the user named stays."""
        grids = []
        for reach in BATCH_REACHES:
            sizes = [size for size in batch_sizes(self.defaults, reach) if size <= self.num_examples]
            grids.append([Values(self._rate_of(size, start), size) for size in sizes])
        return grids

    def _rate_of(self, batch_size: int, start: Values) -> float:
        """Linear in the batch for SGD (Goyal et al. 2017), by its root for Adam (Malladi et al. 2022)."""
        if "learning_rate" not in self.fields:
            return start.learning_rate
        ratio = batch_size / start.batch_size
        return min(LARGEST_RATE, _rounded(start.learning_rate * (ratio if self._is_sgd else math.sqrt(ratio))))

    def _winner(
        self, field: SearchedField, grid: Sequence[Values], rungs: Sequence[Rung], make: Callable[[Candidate], Trial]
    ) -> Values:
        """Where every trial is cut, the smallest."""
        candidates, judged = list(grid), list[tuple[float, Values]]()
        for rung in rungs:
            ranked = []
            for values in candidates[: rung.num_candidates]:
                trial = make(Candidate(field, values, self._steps(values, rung)))
                if trial.score is not None:
                    ranked.append((trial.score, values))
            if not ranked:
                break
            judged = sorted(ranked)
            candidates = [values for _, values in judged]
        return best_of(field, judged) if judged else grid[0]

    def _steps(self, values: Values, rung: Rung) -> int:
        return max(1, round(rung.steps * self.defaults.decided_batch_size / values.batch_size))


def largest_batch(spec: PretrainSpec | FinetuneSpec) -> TrainingOptions:
    """The options with the largest batch that a trial may take, which the job may then go on with."""
    defaults = settled(spec)
    if spec.training.batch_size != "auto":
        return defaults
    return defaults.model_copy(update={"batch_size": batch_sizes(defaults)[-1]})


def best_of(field: SearchedField, judged: Sequence[tuple[float, Values]]) -> Values:
    """(score, values), the best first."""
    best_score, best = judged[0]
    if field == "learning_rate":
        return best
    as_good = [values for score, values in judged if score - best_score <= AS_GOOD * abs(best_score)]
    return max(as_good, key=lambda values: values.batch_size)


def batch_sizes(defaults: TrainingOptions, reach: int = BATCH_REACHES[0]) -> list[int]:
    """Powers of two times the default, in as many parts; ascending."""
    default, parts = defaults.decided_batch_size, defaults.gradient_accumulation_steps
    wanted = {int(default * 2.0**power) // parts * parts for power in range(-reach, reach + 1)}
    return sorted(size for size in wanted if 1 <= size <= LARGEST_BATCH)


def _rates(default: float, reach: int) -> list[float]:
    """Half-decades around the default; ascending."""
    wanted = {_rounded(default * math.sqrt(10) ** power) for power in range(-reach, reach + 1) if power}
    return sorted(rate for rate in {default} | wanted if 0 < rate <= LARGEST_RATE)


def _rounded(rate: float) -> float:
    """In three figures, as people write it."""
    return float(f"{rate:.3g}")


def _rungs(num_candidates: int, budget_steps: int) -> tuple[Rung, ...]:
    """Of which all together take the budget: 7 candidates, then 3, of three times the steps."""
    sizes, lengths = [num_candidates], [1]
    while (kept := math.ceil(sizes[-1] / ETA)) > 1:
        sizes.append(kept)
        lengths.append(lengths[-1] * ETA)
    unit = budget_steps // sum(size * length for size, length in zip(sizes, lengths, strict=True))
    return tuple(Rung(size, unit * length) for size, length in zip(sizes, lengths, strict=True))
