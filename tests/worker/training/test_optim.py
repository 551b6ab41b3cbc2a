"""Optimizers and schedules against their definitions."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from app.contract.specs.training import Schedule, TrainingOptions
from worker.training.optim import ScheduledOptimizer
from worker.training.protocols import RatedParameters
from worker.training.schedule import rate_factor

OPTIMIZERS = ["adamw", "adam", "sgd"]


def _options(**given: object) -> TrainingOptions:
    return TrainingOptions.model_validate(given)


def _parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4))]


def test_warm_up_rises_evenly_to_the_peak() -> None:
    factors = [rate_factor(Schedule(warmup_steps=4), step, 100) for step in range(6)]

    assert factors == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_decay_ends_at_the_final_fraction(shape: str) -> None:
    schedule = Schedule.model_validate({"type": shape, "warmup_steps": 10, "final_fraction": 0.25})
    factors = [rate_factor(schedule, step, 100) for step in range(100)]

    assert max(factors) == factors[10] == 1.0
    assert factors[99] == pytest.approx(0.25)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))


def test_cosine_is_a_cosine() -> None:
    schedule = Schedule(type="cosine", final_fraction=0.0)

    assert rate_factor(schedule, 25, 101) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("shape", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(0, 1), (5, 3), (3, 3), (1, 2)])
def test_a_run_shorter_than_its_warm_up_has_rates_all_the_same(shape: str, warmup_steps: int, total_steps: int) -> None:
    schedule = Schedule.model_validate({"type": shape, "warmup_steps": warmup_steps})

    assert all(0 < rate_factor(schedule, step, total_steps) <= 1 for step in range(total_steps))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_decay_falls_on_matrices_and_spares_vectors(kind: str) -> None:
    parameters = _parameters()
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = ScheduledOptimizer(
        [RatedParameters(parameters)], _options(optimizer={"type": kind, "weight_decay": 0.5}), 10
    )
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)

    optimizer.prepare(0)
    optimizer.apply()

    assert not torch.equal(parameters[0], before[0])
    assert torch.equal(parameters[1], before[1])


def test_rates_are_scaled_one_by_one() -> None:
    matrix, vector = _parameters()
    before = matrix.detach().clone(), vector.detach().clone()
    options = _options(
        gradient_clip_norm=None,
        optimizer={"type": "sgd", "learning_rate": 0.5, "momentum": 0.0},
        schedule={"type": "constant", "warmup_steps": 1},
    )
    optimizer = ScheduledOptimizer([RatedParameters([matrix], 0.1), RatedParameters([vector])], options, 10)
    for parameter in (matrix, vector):
        parameter.grad = torch.ones_like(parameter)

    optimizer.prepare(0)
    optimizer.apply()

    assert optimizer.learning_rate(0) == 0.25
    torch.testing.assert_close(before[0] - matrix, torch.full_like(matrix, 0.025))
    torch.testing.assert_close(before[1] - vector, torch.full_like(vector, 0.25))


@pytest.mark.parametrize("limit", [None, 0.5, 100.0])
def test_gradients_are_divided_and_then_clipped_as_torch_does(limit: float | None) -> None:
    mine, theirs = _parameters(), _parameters()
    for parameter, other in zip(mine, theirs, strict=True):
        parameter.grad = 8.0 * torch.ones_like(parameter)
        other.grad = 2.0 * torch.ones_like(other)
    optimizer = ScheduledOptimizer(
        [RatedParameters(mine)],
        _options(gradient_clip_norm=limit, optimizer={"type": "sgd", "learning_rate": 1.0, "momentum": 0.0}),
        10,
    )

    optimizer.prepare(0)
    norm = optimizer.apply(gradient_divisor=4)
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(theirs, limit or math.inf)))
    torch.optim.SGD(theirs, 1.0).step()

    for parameter, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(parameter, other)
        assert parameter.grad is None


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_exactly(kind: str) -> None:
    options = _options(optimizer={"type": kind}, schedule={"type": "cosine"})

    def steps(optimizer: ScheduledOptimizer, parameters: list[nn.Parameter], numbers: range) -> None:
        for number in numbers:
            for parameter in parameters:
                parameter.grad = torch.sin(parameter.detach() + number)
            optimizer.prepare(number)
            optimizer.apply()

    whole = _parameters()
    steps(ScheduledOptimizer([RatedParameters(whole)], options, 10), whole, range(10))
    parts = _parameters()
    first = ScheduledOptimizer([RatedParameters(parts)], options, 10)
    steps(first, parts, range(4))
    second = ScheduledOptimizer([RatedParameters(parts)], options, 10)
    second.load_state_dict(first.state_dict())
    steps(second, parts, range(4, 10))

    assert all(torch.equal(mine, theirs) for mine, theirs in zip(parts, whole, strict=True))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_parameter_may_join_later(kind: str) -> None:
    """A layer that thaws has no state of the steps before; its own first step is as any first step."""
    early, late = _parameters()[0], nn.Parameter(torch.ones(3, 4))
    started = late.detach().clone()
    alone = nn.Parameter(torch.ones(3, 4))
    options = _options(duration={"steps": 9}, optimizer={"type": kind, "learning_rate": 0.1, "weight_decay": 0.0})
    optimizer, fresh = (
        ScheduledOptimizer([RatedParameters(group, 1.0)], options, 9) for group in ([early, late], [alone])
    )
    for parameters in ([early], [early, late]):
        optimizer.prepare(0)
        for parameter in parameters:
            parameter.grad = torch.ones(3, 4) / 100
        optimizer.apply()
    fresh.prepare(0)
    alone.grad = torch.ones(3, 4) / 100
    fresh.apply()

    assert not torch.equal(late, started)
    torch.testing.assert_close(late, alone, rtol=0, atol=0)
