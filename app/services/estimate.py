"""What a job would cost, before it is asked for: exact where arithmetic allows it, approximate where data must be read.

Nothing is queued, and nothing but rows is read. Times assume machines of a stated speed, and count no evaluations.
"""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.contract import sizes
from app.contract.auto import settled
from app.contract.base import Contract
from app.contract.model_folder import InputKind
from app.contract.search import Search
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import Classification
from app.contract.specs.training import Duration, TrainingOptions
from app.db import workers
from app.db.session import Database, now
from app.services.jobs.auto import told_default
from app.services.jobs.disk import disk_need
from app.services.jobs.planning import Plan, longest_example, plan
from app.services.jobs.standing import waiting_reason
from app.settings import Settings

#: Sustained operations a second: two cores with AVX-512 in fp32 reach 1.5e11 in bare products, a data-centre GPU 5e13
#: at small batches.
FLOPS_PER_SECOND = {"cpu": 1e11, "cuda": 3e13}
#: What a step costs however small it is.
STEP_SECONDS = {"cpu": 1e-3, "cuda": 2e-3}
START_SECONDS = 3.0


class Estimate(Contract):
    """`approximate` names the figures that were not computed exactly. `estimated_seconds` is per device, from the
    speeds told in `assumptions`, without evaluations. `num_trained_parameters` are those that the strategy lets learn,
    adapters among them, which are merged into the `num_parameters` of the model when training ends. `disk_bytes` is
    what it has on disks at most: the checkpoints that it keeps, and what an attempt works with. `trial_steps` are made
    at most, on top of `total_steps`, for fields left `auto`: `trial_seconds` of the `estimated_seconds`.
    """

    spec: dict[str, Any]
    num_parameters: int
    num_trained_parameters: int
    memory_bytes: int
    disk_bytes: int
    total_steps: int
    total_tokens: int | None
    trial_steps: int
    estimated_seconds: dict[str, float]
    trial_seconds: dict[str, float]
    approximate: list[str]
    assumptions: dict[str, float]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class DataLoad:
    """The training side of the data set, cut into steps."""

    num_examples: int
    batch_size: int
    tokens_per_example: float | None

    @property
    def steps_per_epoch(self) -> float:
        return self.num_examples / self.batch_size

    @property
    def tokens_per_step(self) -> float | None:
        return None if self.tokens_per_example is None else self.batch_size * self.tokens_per_example

    def steps(self, duration: Duration) -> int:
        """As `worker.training.resolution` counts them."""
        if duration.steps is not None:
            return duration.steps
        if duration.epochs is not None:
            return max(1, math.ceil(duration.epochs * self.steps_per_epoch))
        assert duration.tokens is not None, "a duration has exactly one unit"
        assert self.tokens_per_step is not None, "checked with the plan"
        return max(1, math.ceil(duration.tokens / self.tokens_per_step))


@dataclass(frozen=True, slots=True)
class Estimates:
    database: Database
    settings: Settings

    def estimate(self, project_id: str, spec: PretrainSpec | FinetuneSpec) -> Estimate:
        """Raises InvalidRequest as a submission would."""
        with self.database.reading() as session:
            planned = plan(session, project_id, spec, self.settings)
            warnings = self._warnings(session, planned)
        load = _load(planned)
        training = settled(spec)
        total_steps = load.steps(training.decided_duration)
        search = Search.of(spec, total_steps, load.num_examples)
        trials = _seconds(planned, load, search.steps)
        seconds = {
            device: round(START_SECONDS + trials[device] + of_steps, 1)
            for device, of_steps in _seconds(planned, load, total_steps).items()
        }
        return Estimate(
            spec=spec.model_dump(mode="json"),
            num_parameters=planned.num_parameters,
            num_trained_parameters=planned.num_trained_parameters,
            memory_bytes=planned.memory_bytes,
            disk_bytes=sum(disk_need(planned)),
            total_steps=total_steps,
            total_tokens=None if load.tokens_per_step is None else round(total_steps * load.tokens_per_step),
            trial_steps=search.steps,
            estimated_seconds=seconds,
            trial_seconds=trials,
            approximate=_approximate(planned),
            assumptions={f"{device}_flops_per_second": rate for device, rate in FLOPS_PER_SECOND.items()},
            warnings=[
                *warnings,
                *_doubts(training, load, total_steps),
                *_untried(search, total_steps),
                *_too_long(spec, seconds),
            ],
        )

    def _warnings(self, session: Session, planned: Plan) -> list[str]:
        warnings: list[str] = list(planned.dataset.warnings)
        resources = planned.spec.resources
        trainers = workers.live(session, "trainer", now(session) - self.settings.silence)
        reason = waiting_reason(resources.device, resources.labels, trainers)
        return warnings if reason is None else [*warnings, reason]


def _load(planned: Plan) -> DataLoad:
    training, dataset = settled(planned.spec), planned.dataset
    if planned.dataset.kind == "text":
        window = longest_example(planned.body)
        num_tokens = dataset.size_bytes / _bytes_per_token(planned) * (1 - training.held_back)
        num_windows = max(1, int(num_tokens + 1) // window - 1)
        return DataLoad(num_windows, min(training.decided_batch_size, num_windows), min(window, max(1.0, num_tokens)))
    num_examples = max(1, round(_examples_of_an_epoch(planned) * (1 - training.held_back)))
    return DataLoad(num_examples, min(training.decided_batch_size, num_examples), _tokens_per_example(planned))


def _examples_of_an_epoch(planned: Plan) -> int:
    """Down-sampling takes of each label as many as the rarest has."""
    method, profile = planned.spec.method, planned.dataset.profile
    if isinstance(method, Classification) and method.sampling == "down_sample":
        assert planned.num_outputs is not None
        return planned.num_outputs * int(min(profile["labels"].values()))
    return planned.dataset.num_examples


def _tokens_per_example(planned: Plan) -> float | None:
    """Of the median text, cut to the context; None where examples are not text."""
    if planned.body.input is not InputKind.TEXT:
        return None
    characters: int = planned.dataset.profile["length"]["p50"]
    return min(float(longest_example(planned.body)), 1 + characters / _bytes_per_token(planned))


def _bytes_per_token(planned: Plan) -> float:
    """Of byte-level pairs learned on English: 1.0 with the bytes alone, 2.6 with 2,048 tokens, 4.7 with 32,768."""
    assert planned.body.vocab_size is not None
    return min(max(1 + 0.53 * (math.log2(planned.body.vocab_size) - 8), 1.0), 5.0)


def _seconds(planned: Plan, load: DataLoad, steps: int) -> dict[str, float]:
    method = (planned.spec.kind, planned.spec.method.type)
    tokens = max(1, round(load.tokens_per_example or 1))
    flops_per_step = load.batch_size * sizes.training_flops(
        method,
        planned.body,
        planned.num_outputs,
        tokens,
        strategy=planned.strategy,
        recomputed=planned.spec.training.activation_checkpointing,
    )
    asked = planned.spec.resources.device
    return {
        device: round(steps * (STEP_SECONDS[device] + flops_per_step / rate), 1)
        for device, rate in FLOPS_PER_SECOND.items()
        if asked in ("auto", device)
    }


def _approximate(planned: Plan) -> list[str]:
    """The tokenizer is not learned yet, and lengths are known by their median; a split keeps duplicates together."""
    names = ["memory_bytes", "disk_bytes", "estimated_seconds", "trial_seconds"]
    if settled(planned.spec).decided_duration.steps is None:
        names += ["total_steps", "trial_steps"]
    if planned.body.input is InputKind.TEXT:
        names.append("total_tokens")
        if isinstance(planned.spec, PretrainSpec):
            names += ["num_parameters", "num_trained_parameters"]  # a short text yields fewer tokens than asked for
    return names


def _doubts(training: TrainingOptions, load: DataLoad, total_steps: int) -> list[str]:
    doubts = []
    if training.decided_batch_size > load.num_examples:
        doubts.append(
            f"A batch of {training.decided_batch_size:,} is more than the {load.num_examples:,} examples to train on: "
            "each step would take them all."
        )
    if training.schedule.warmup_steps >= total_steps:
        doubts.append(
            f"The warm-up of {training.schedule.warmup_steps:,} steps outlasts the {total_steps:,} steps of training: "
            "the learning rate never reaches its peak."
        )
    return doubts


def _untried(search: Search, total_steps: int) -> list[str]:
    return [told_default(field, search.defaults, total_steps) for field in search.skipped]


def _too_long(spec: PretrainSpec | FinetuneSpec, estimated_seconds: dict[str, float]) -> list[str]:
    limit = spec.resources.time_limit_seconds
    return [
        f"On {device} the training would take some {seconds:,.0f} seconds, and resources.time_limit_seconds is "
        f"{limit:,}: the job would fail with time_limit, and keep its checkpoints."
        for device, seconds in estimated_seconds.items()
        if limit is not None and seconds > limit
    ]
