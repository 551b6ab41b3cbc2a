"""What to try next, by Optuna: a pure function of the sweep's spec and of what its earlier trials came to.

Optuna's study is made anew for each question, so nothing of it is stored, and whoever asks again about the same rows is
told the same. Its scores are minimised: those of a sweep that maximises change their sign. `optuna.importance` is
imported when it is needed: where scikit-learn is installed, it loads that too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import TrialState as OptunaState

from app.contract.specs.sweep import (
    AnySearch,
    Categorical,
    IntUniform,
    LogIntUniform,
    LogUniform,
    SweepSpec,
    TrialState,
    Uniform,
)
from app.services.sweeps.search import Json, Parameters, grid_point

#: With fewer, the importance of a parameter is chance.
MIN_TRIALS_FOR_IMPORTANCE = 8
#: The share of trials that count as good ones. Of the few that a sweep has, the usual tenth would be one or two: of 30
#: by TPE it took a parameter without effect for the greater one.
GOOD = 0.25
_STATES = {
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True, slots=True)
class Tried:
    """An earlier trial. `score` where it is complete; `rung_scores` in order of rungs where it was pruned."""

    parameters: Parameters
    state: TrialState
    score: float | None = None
    rung_scores: Sequence[float] = ()


def proposal(spec: SweepSpec, tried: Sequence[Tried]) -> Json:
    """The parameters of the trial number len(`tried`), by path; `tried` are in order of their numbers."""
    number = len(tried)
    if spec.sampler == "grid":
        return grid_point(spec, number)
    drawn = _study(spec, tried, _sampler(spec, number)).ask(_distributions(spec)).params
    return {path: _value(search, drawn[path]) for path, search in spec.search.items()}


def importance(spec: SweepSpec, tried: Sequence[Tried]) -> dict[str, float] | None:
    """How much of what tells good trials from others is each parameter's: shares of 1, by PED-ANOVA (Watanabe et al.
    2023). None where there are too few trials, or nothing to compare."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # noqa: PLC0415  see above

    complete = [each for each in tried if each.state is TrialState.COMPLETE]
    if len(complete) < MIN_TRIALS_FOR_IMPORTANCE or len({each.score for each in complete}) < 2:
        return None
    varied = [
        path
        for path in spec.search
        if len({json.dumps(each.parameters[path], sort_keys=True) for each in complete}) > 1
    ]
    study = _study(spec, complete, RandomSampler(seed=0))
    found = (
        get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=GOOD), params=varied)
        if varied
        else {}
    )
    return {path: float(found.get(path, 0.0)) for path in spec.search}


def _sampler(spec: SweepSpec, number: int) -> BaseSampler:
    """Each trial draws by a seed of its own."""
    seed = (spec.seed * MULTIPLIER + number) % 2**32
    return RandomSampler(seed=seed) if spec.sampler == "random" else TPESampler(seed=seed, constant_liar=True)


#: Large and odd (Knuth 1997, 3.3.4), so that sweeps with neighbouring seeds share no trial's.
MULTIPLIER = 1_664_525


def _study(spec: SweepSpec, tried: Sequence[Tried], sampler: BaseSampler) -> optuna.Study:
    study = optuna.create_study(sampler=sampler)
    distributions = _distributions(spec)
    study.add_trials([_told(spec, each, distributions) for each in tried])
    return study


def _told(spec: SweepSpec, tried: Tried, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    sign = -1.0 if spec.objective.goal == "maximize" else 1.0
    complete, pruned = tried.state is TrialState.COMPLETE, tried.state is TrialState.PRUNED
    return create_trial(
        state=_STATES[tried.state],
        params={path: _drawn(search, tried.parameters[path]) for path, search in spec.search.items()},
        distributions=distributions,
        value=sign * tried.score if complete and tried.score is not None else None,
        intermediate_values={rung: sign * score for rung, score in enumerate(tried.rung_scores)} if pruned else None,
    )


def _distributions(spec: SweepSpec) -> dict[str, BaseDistribution]:
    return {path: _distribution(search) for path, search in spec.search.items()}


def _distribution(search: AnySearch) -> BaseDistribution:
    match search:
        case Uniform() | LogUniform():
            return FloatDistribution(search.low, search.high, log=isinstance(search, LogUniform))
        case IntUniform():
            highest = search.low + (search.high - search.low) // search.step * search.step
            return IntDistribution(search.low, highest, step=search.step)
        case LogIntUniform():
            return IntDistribution(search.low, search.high, log=True)
        case Categorical():  # by place: a choice may be an object
            return CategoricalDistribution(range(len(search.choices)))
        case _:
            assert_never(search)


def _value(search: AnySearch, drawn: Any) -> Any:
    return search.choices[drawn] if isinstance(search, Categorical) else drawn


def _drawn(search: AnySearch, value: Any) -> Any:
    if not isinstance(search, Categorical):
        return value
    return [json.dumps(each, sort_keys=True) for each in search.choices].index(json.dumps(value, sort_keys=True))
