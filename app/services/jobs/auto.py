"""What is left `auto`: whether it can be decided, and how it was, as a job's user sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from app.contract.auto import DURATION_FACTOR, searched_fields, settled
from app.contract.base import Contract
from app.contract.errors import FieldError, InvalidRequest
from app.contract.messages import Resolved
from app.contract.search import AS_GOOD, BUDGET_SHARE
from app.contract.specs import training_spec_adapter
from app.contract.specs.job import TRAINING_KINDS, FinetuneSpec, PretrainSpec
from app.contract.specs.training import TrainingOptions
from app.contract.trials import SearchedField, Trial
from app.db.tables import JobRow

LOCATIONS: Mapping[str, str] = {
    "learning_rate": "training.optimizer.learning_rate",
    "batch_size": "training.batch_size",
    "duration": "training.duration",
}


class AutoCandidate(Contract):
    """A value and the longest trial of it: the validation loss at its end, and the training loss on the way there.

    `score` is null where the trial was cut at `stopped_at_step`, for the reason in `cut`.
    """

    value: float
    score: float | None
    steps: int
    stopped_at_step: int
    cut: Literal["diverged", "out_of_memory"] | None
    curve: tuple[tuple[int, float], ...]


class AutoDecision(Contract):
    """`chosen` and `reason` are null until it is decided. `trial_steps` are those that its trials have made so far.

    Of a duration, `chosen` is the number of steps that early stopping cannot pass.
    """

    candidates: list[AutoCandidate]
    chosen: float | None
    reason: str | None
    trial_steps: int


def check_auto(spec: PretrainSpec | FinetuneSpec) -> None:
    """Raises InvalidRequest where nothing could be judged, or candidates would not learn from equally much."""
    training = spec.training
    fields = auto_fields(training)
    if fields and training.validation_dataset is None and not training.held_back:
        raise _refused(
            f"{fields[0]} is auto, which validation decides, and training.validation_fraction is 0. Hold back a part "
            f"of the data, name a training.validation_dataset, or give {fields[0]} in numbers.",
            "training.validation_fraction",
        )
    duration = training.duration
    if training.batch_size == "auto" and duration != "auto" and duration.steps is not None:
        raise _refused(
            f"training.batch_size is auto, and training.duration is {duration.steps:,} steps: the larger batch would "
            "learn from more examples. Give the duration in epochs or tokens, or the batch size in numbers.",
            "training.batch_size",
        )


def auto_fields(training: TrainingOptions) -> list[str]:
    """Where `auto` stands for a number that validation decides."""
    names: list[str] = [*searched_fields(training)]
    return [LOCATIONS[name] for name in [*names, *(["duration"] if training.duration == "auto" else [])]]


def decisions(row: JobRow) -> dict[str, AutoDecision]:
    """By the field's name; empty where the user has named every number."""
    if row.kind not in TRAINING_KINDS or not _leaves_something(row.spec["training"]):
        return {}
    spec = training_spec_adapter.validate_python(row.spec, strict=False)
    resolved = row.resolved and Resolved.model_validate(row.resolved)
    trials = [Trial.model_validate(trial, strict=False) for trial in row.trials or ()]
    told: dict[str, AutoDecision] = {
        field: _searched(spec, field, [trial for trial in trials if trial.field == field], resolved or None)
        for field in searched_fields(spec.training)
    }
    if spec.training.duration == "auto":
        told["duration"] = _duration(spec, resolved or None)
    return told


def told_default(field: SearchedField, defaults: TrainingOptions, total_steps: int) -> str:
    """Why there are no trials of a job with validation data."""
    value = _value_of(field, defaults.optimizer.decided_rate, defaults.decided_batch_size)
    return (
        f"{LOCATIONS[field]} takes the default, {value:g}: {BUDGET_SHARE:.0%} of {total_steps:,} steps are too few for "
        "trials that tell more than chance."
    )


def _leaves_something(training: Mapping[str, Any]) -> bool:
    return "auto" in (training["optimizer"]["learning_rate"], training["batch_size"], training["duration"])


def _searched(
    spec: PretrainSpec | FinetuneSpec, field: SearchedField, trials: Sequence[Trial], resolved: Resolved | None
) -> AutoDecision:
    longest = {_value(trial): trial for trial in trials}  # a later rung takes an earlier one's place
    chosen = None if resolved is None else getattr(resolved, field)
    return AutoDecision(
        candidates=[_candidate(value, longest[value]) for value in sorted(longest)],
        chosen=chosen,
        reason=None if resolved is None or chosen is None else _reason(spec, field, trials, resolved),
        trial_steps=sum(trial.stopped_at_step for trial in trials),
    )


def _candidate(value: float, trial: Trial) -> AutoCandidate:
    told = {name: getattr(trial, name) for name in ("score", "steps", "stopped_at_step", "cut", "curve")}
    return AutoCandidate(value=value, **told)


def _reason(
    spec: PretrainSpec | FinetuneSpec, field: SearchedField, trials: Sequence[Trial], resolved: Resolved
) -> str:
    if not trials:
        if not resolved.num_validation_examples:
            return "The default: the data are too few to hold back a part that could judge a trial."
        return told_default(field, settled(spec), resolved.total_steps)
    finalists = _last_rung(trials)
    if not finalists:
        return "The smallest: every trial was cut."
    best, *others = finalists
    against = f"; next came {_value(others[0]):g} with {others[0].score:.4g}" if others else ""
    if field == "batch_size" and best.batch_size != resolved.batch_size:
        return (
            f"The largest batch whose validation loss in its trial is within {AS_GOOD:.0%} of the lowest, "
            f"{best.score:.4g} of {best.batch_size}."
        )
    found = f"The lowest validation loss of all trials that went so far, {best.score:.4g} after {best.steps} steps"
    return f"{found}{against}.{_edge(best, trials)}{_scaled(field, best, resolved)}"


def _last_rung(trials: Sequence[Trial]) -> list[Trial]:
    """Those that came furthest and were not cut, the best first."""
    rungs: dict[float, int] = {}
    reached: list[tuple[int, float, Trial]] = []
    for trial in trials:
        value = _value(trial)
        rungs[value] = rungs.get(value, 0) + 1
        if trial.score is not None:
            reached.append((rungs[value], trial.score, trial))
    last = max((rung for rung, _, _ in reached), default=0)
    return [trial for rung, _, trial in sorted(reached, key=lambda each: each[1]) if rung == last]


def _edge(best: Trial, trials: Iterable[Trial]) -> str:
    values = [_value(trial) for trial in trials]
    if _value(best) == max(values):
        return " It is the largest that was tried: a larger one may be better still."
    if _value(best) == min(values):
        return " It is the smallest that was tried: a smaller one may be better still."
    return ""


def _scaled(field: SearchedField, best: Trial, resolved: Resolved) -> str:
    """A rate that has gone with the batch size, which was decided after it."""
    rate = resolved.learning_rate
    if field != "learning_rate" or rate is None or rate == best.learning_rate:
        return ""
    return (
        f" {best.learning_rate:g} was found with batches of {best.batch_size}, and {rate:g} goes with the batch size."
    )


def _duration(spec: PretrainSpec | FinetuneSpec, resolved: Resolved | None) -> AutoDecision:
    rule = settled(spec).early_stopping
    assert rule is not None
    reason = (
        f"Early stopping ends it after {rule.patience} evaluations in a row without improvement; at most it takes "
        f"{DURATION_FACTOR} times the method's default duration."
    )
    steps = None if resolved is None else float(resolved.total_steps)
    return AutoDecision(candidates=[], chosen=steps, reason=reason if resolved else None, trial_steps=0)


def _value(trial: Trial) -> float:
    return _value_of(trial.field, trial.learning_rate, trial.batch_size)


def _value_of(field: SearchedField, learning_rate: float, batch_size: int) -> float:
    return learning_rate if field == "learning_rate" else batch_size


def _refused(message: str, location: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(location=location, message=message)])
