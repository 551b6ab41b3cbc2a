"""SweepSpec: a job to train many times, what to change in it, and how the changes are chosen and judged."""

import math
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from app.contract.base import Contract, PlainText
from app.contract.compatibility import GOALS, VALIDATION_LOSS, Goal
from app.contract.specs.job import TrainingSpec

MAX_TRIALS = 1_000
#: Trials times folds.
MAX_JOBS = 2_000
DEFAULT_TRIALS = 20
Points = Annotated[
    int, Field(ge=2, le=100, description="For a grid: so many values, evenly spaced, both ends included.")
]
Bound = Annotated[float, Field(ge=-1e12, le=1e12)]
WholeBound = Annotated[int, Field(ge=-(10**12), le=10**12)]


class SweepStatus(StrEnum):
    """`pausing` and `cancelling`: it is paused or cancelled, and jobs of it still write their last checkpoint."""

    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


SWEEP_ENDS = frozenset({SweepStatus.CANCELLED, SweepStatus.SUCCEEDED, SweepStatus.FAILED})


class TrialState(StrEnum):
    """`pruned`: others were better at a rung, so it did not go on. Of these, only `complete` has a score."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class _Range(Contract):
    points: Points | None = None

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        low, high = getattr(self, "low", 0), getattr(self, "high", 1)
        if low >= high:
            raise ValueError(f"low {low} is not below high {high}: give a wider range, or leave the field to the job")
        return self


class Uniform(_Range):
    """Any number between both ends."""

    type: Literal["uniform"]
    low: Bound
    high: Bound


class LogUniform(_Range):
    """The same, where a factor counts as a distance: for learning rates and the like."""

    type: Literal["log_uniform"]
    low: Annotated[Bound, Field(gt=0.0)]
    high: Annotated[Bound, Field(gt=0.0)]


class IntUniform(_Range):
    """low, low + step, low + 2 step... up to high."""

    type: Literal["int_uniform"]
    low: WholeBound
    high: WholeBound
    step: Annotated[int, Field(ge=1, le=10**12)] = 1


class LogIntUniform(_Range):
    """A whole number, where a factor counts as a distance."""

    type: Literal["log_int_uniform"]
    low: Annotated[WholeBound, Field(ge=1)]
    high: Annotated[WholeBound, Field(ge=1)]


class Categorical(Contract):
    """Any of these: numbers, texts, or whole objects as the field takes them."""

    type: Literal["categorical"]
    choices: Annotated[list[Any], Field(min_length=1, max_length=100)]


Search = Annotated[Uniform | LogUniform | IntUniform | LogIntUniform | Categorical, Field(discriminator="type")]
AnySearch = Uniform | LogUniform | IntUniform | LogIntUniform | Categorical
Path = Annotated[PlainText, Field(min_length=1, max_length=200)]


class Objective(Contract):
    """What a trial is judged by: the metric at its best checkpoint, which is the one of the lowest validation loss."""

    metric: Annotated[PlainText, Field(min_length=1, max_length=64)] = VALIDATION_LOSS
    goal: Annotated[Goal, Field(description="Where it is left out: whichever is better of the metric.")] = "minimize"

    @model_validator(mode="before")
    @classmethod
    def _better_of_the_metric(cls, given: Any) -> Any:
        if isinstance(given, dict) and "goal" not in given:
            return given | {"goal": GOALS.get(str(given.get("metric")), "minimize")}
        return given


class SuccessiveHalving(Contract):
    """Asynchronous successive halving (Li et al. 2020): a trial pauses at each rung of its whole schedule, and goes on
    if it is among the best 1/`reduction_factor` there. The rungs stand at 1/reduction_factor, 1/reduction_factor^2...
    of the training, down to `min_fraction`, each at the first evaluation behind it."""

    type: Literal["successive_halving"] = "successive_halving"
    reduction_factor: Annotated[int, Field(ge=2, le=10)] = 3
    min_fraction: Annotated[float, Field(ge=1e-6, lt=1.0)] = 0.1

    @model_validator(mode="after")
    def _there_is_a_rung(self) -> Self:
        if not self.rungs:
            raise ValueError(
                f"min_fraction {self.min_fraction} is above 1 / reduction_factor {self.reduction_factor}, where "
                f"the last rung would stand: give at most {1 / self.reduction_factor:.3g}"
            )
        return self

    @property
    def rungs(self) -> list[float]:
        """Shares of the training, ascending."""
        highest = int(math.log(1 / self.min_fraction, self.reduction_factor) + 1e-9)
        return [float(self.reduction_factor**-power) for power in range(highest, 0, -1)]


class Budget(Contract):
    """Spent, no trial begins or is promoted any more; those that run go on to their end, or to their next rung. Steps
    and minutes of training are those of all jobs together."""

    steps: Annotated[int, Field(ge=1, le=10**12)] | None = None
    minutes: Annotated[float, Field(gt=0.0, le=1e8)] | None = None

    @model_validator(mode="after")
    def _something_is_bounded(self) -> Self:
        if self.steps is None and self.minutes is None:
            raise ValueError("give steps or minutes, or leave the budget out")
        return self


class Finalize(Contract):
    """Train the best parameters again on all data, for as long as the best trial went until it was best. `alias` is
    pointed at the model."""

    alias: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None


class SweepSpec(Contract):
    """`job` is trained once a trial; `search` says, by the path of a field in it, what each trial changes."""

    name: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = None
    job: TrainingSpec
    search: Annotated[dict[Path, Search], Field(min_length=1, max_length=20)]
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = Field(
        default=None, description=f"Default: {DEFAULT_TRIALS}, or all points of a grid."
    )
    folds: Annotated[int, Field(ge=2, le=20)] | None = Field(
        default=None,
        description="Each trial is trained so many times, by k-fold cross-validation, and its score the mean.",
    )
    group: Annotated[PlainText, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="With folds: a column of the file; records with the same value of it stay together."
    )
    objective: Objective = Objective()
    sampler: Literal["tpe", "random", "grid"] = Field(
        default="tpe",
        description="`tpe` draws ten trials by chance, then where the good ones lie (Bergstra et al. 2011).",
    )
    pruner: SuccessiveHalving | None = None
    max_parallel: Annotated[int, Field(ge=1, le=100, description="Trials at a time; the folds of one count once.")] = 2
    budget: Budget | None = None
    finalize: Finalize | bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of what is proposed; the job has its own.")] = 0

    @model_validator(mode="after")
    def _group_needs_folds(self) -> Self:
        if self.group is not None and self.folds is None:
            raise ValueError(f"group is {self.group!r} and folds is not given: give folds, or leave group out")
        return self

    @property
    def finalized(self) -> Finalize | None:
        if isinstance(self.finalize, Finalize):
            return self.finalize
        return Finalize() if self.finalize else None

    @property
    def rungs(self) -> list[float]:
        return self.pruner.rungs if self.pruner is not None else []
