"""What is proposed: a pure function of the spec and of what was tried, and better than chance."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from app.contract.specs.sweep import SweepSpec, TrialState
from app.services.sweeps.proposals import Tried, importance, proposal
from app.services.sweeps.search import num_trials

RATE, DROPOUT, WIDTHS = "training.optimizer.learning_rate", "method.architecture.dropout", "method.architecture"
SEARCH = {
    RATE: {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
    DROPOUT: {"type": "uniform", "low": 0.0, "high": 0.5},
}


def spec(**fields: Any) -> SweepSpec:
    job = {"kind": "pretrain", "dataset": f"ds_{'0' * 32}", "method": {"type": "autoencoder"}}
    return SweepSpec.model_validate_json(json.dumps({"job": job, "search": SEARCH} | fields))


def loss(parameters: dict[str, Any]) -> float:
    return (math.log10(parameters[RATE]) + 3) ** 2 + 0.01 * float(parameters[DROPOUT])


def run(sweep: SweepSpec, count: int) -> list[Tried]:
    tried: list[Tried] = []
    for number in range(count):
        parameters = proposal(sweep, tried)
        state = TrialState.FAILED if number == 4 else TrialState.PRUNED if number == 5 else TrialState.COMPLETE
        complete = state is TrialState.COMPLETE
        rungs = () if complete else (loss(parameters),)
        tried.append(Tried(parameters, state, loss(parameters) if complete else None, rungs))
    return tried


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_same_rows_are_proposed_the_same_however_often_and_where(sampler: str) -> None:
    points = {name: search | {"points": 5} for name, search in SEARCH.items()}
    sweep = spec(sampler=sampler, search=points)
    tried = run(sweep, 15)
    code = """
import json, sys
from tests.app.services.sweeps.test_proposals import run, spec
sampler, points = json.loads(sys.argv[1])
print(json.dumps([each.parameters for each in run(spec(sampler=sampler, search=points), 15)]))
"""
    elsewhere = subprocess.run(
        [sys.executable, "-c", code, json.dumps([sampler, points])], capture_output=True, text=True, check=True
    )

    assert [each.parameters for each in tried] == json.loads(elsewhere.stdout)
    assert proposal(sweep, tried) == proposal(sweep, tried)
    assert run(spec(sampler=sampler, search=points, seed=1), 3) != tried[:3]


def test_what_was_learned_is_used() -> None:
    tried = run(spec(), 30)

    late = [each.score for each in tried[15:] if each.score is not None]
    early = [each.score for each in tried[:10] if each.score is not None]
    assert sum(late) / len(late) < sum(early) / len(early) / 2
    assert min(late) < 0.05


def test_what_runs_is_not_proposed_again() -> None:
    running: list[Tried] = [*run(spec(), 12)]
    for _ in range(5):
        running.append(Tried(proposal(spec(), running), TrialState.RUNNING))

    assert len({each.parameters[RATE] for each in running}) == 17


def test_what_matters_is_told() -> None:
    weights = importance(spec(), run(spec(), 30))

    assert weights is not None
    assert weights[RATE] > 0.8
    assert sum(weights.values()) == pytest.approx(1)
    assert importance(spec(), run(spec(), 7)) is None


def test_choices_may_be_objects_and_kinds_of_values_stay_apart() -> None:
    choices = [{"type": "mlp", "hidden_widths": [8]}, {"type": "conv"}, 1, True, "1", None]
    sweep = spec(search={WIDTHS: {"type": "categorical", "choices": choices}})

    tried = [Tried({WIDTHS: choice}, TrialState.COMPLETE, float(place)) for place, choice in enumerate(choices)]

    assert json.dumps(proposal(sweep, tried)[WIDTHS]) in [json.dumps(choice) for choice in choices]
    drawn = {json.dumps(proposal(sweep, run_of(sweep, count))[WIDTHS]) for count in range(10)}
    assert len(drawn) > 3


def run_of(sweep: SweepSpec, count: int) -> list[Tried]:
    tried: list[Tried] = []
    for _ in range(count):
        tried.append(Tried(proposal(sweep, tried), TrialState.COMPLETE, 1.0))
    return tried


@pytest.mark.parametrize(
    ("search", "values"),
    [
        ({"type": "uniform", "low": 0, "high": 1, "points": 3}, [0.0, 0.5, 1.0]),
        ({"type": "log_uniform", "low": 0.01, "high": 1, "points": 3}, [0.01, 0.1, 1.0]),
        ({"type": "int_uniform", "low": 8, "high": 30, "step": 8}, [8, 16, 24]),
        ({"type": "int_uniform", "low": 8, "high": 30, "step": 8, "points": 2}, [8, 24]),
        ({"type": "log_int_uniform", "low": 1, "high": 100, "points": 3}, [1, 10, 100]),
        ({"type": "categorical", "choices": ["a", 1]}, ["a", 1]),
    ],
)
def test_a_grid_has_these_points(search: dict[str, Any], values: list[Any]) -> None:
    sweep = spec(sampler="grid", search={RATE: search})

    points = [proposal(sweep, run_of(sweep, number))[RATE] for number in range(num_trials(sweep))]

    assert sorted(map(_told, points)) == sorted(map(_told, values))


def _told(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else repr(value)
