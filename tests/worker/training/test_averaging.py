"""The moving average of weights: what it is, what sees it, and what goes on without it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from app.contract.messages import CheckpointLine, ReportLine
from app.contract.specs.training import WeightAverage
from tests.worker.training.lines import Line, trainer
from worker.training.averaging import MovingAverage, decay_at
from worker.training.checkpoints import read_state

DECAY = 0.8


class Watched(Line):
    """Keeps the weights after each step, and those that evaluations saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[torch.Tensor] = [self._flat()]
        self.evaluated: dict[int, torch.Tensor] = {}
        self.before_step = lambda step: self.weights.append(self._flat()) if step else None

    def metrics(self) -> Mapping[str, float]:
        self.evaluated[self.steps_done] = self._flat()
        return super().metrics()

    def _flat(self) -> torch.Tensor:
        return torch.cat([each.detach().flatten() for each in self.module.parameters()])


def averaged(weights: list[torch.Tensor]) -> torch.Tensor:
    """The formula over the whole history: a sum in which the weights of each step have their share."""
    mean, steps = weights[0].double(), weights[1:]
    for step, each in enumerate(steps):
        decay = min(DECAY, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * each.double()
    return mean.float()


def test_evaluations_and_the_model_take_the_average_and_training_goes_on_without_it(tmp_path: Path) -> None:
    plain, watched = Watched(), Watched()
    lines: list[ReportLine] = []
    trainer(plain, tmp_path / "plain", lambda _: None).run()
    trainer(watched, tmp_path / "averaged", lines.append, weight_average={"decay": DECAY}).run()

    assert all(torch.equal(*pair) for pair in zip(watched.weights, plain.weights, strict=True))
    for step in (5, 10, 15):
        torch.testing.assert_close(watched.evaluated[step], averaged(watched.weights[: step + 1]))
        assert torch.equal(plain.evaluated[step], plain.weights[step])
    last = [line.path for line in lines if isinstance(line, CheckpointLine)][-1]
    exported, state = (last / "model" / "weights").read_text(), read_state(last)
    assert exported == str([each.tolist() for each in state["average"]])
    assert exported != str([each.tolist() for each in state["module"].values()])


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (1, 2 / 11), (80, 0.9), (81, 0.9), (10**6, 0.9)])
def test_the_decay_warms_up(step: int, decay: float) -> None:
    assert decay_at(step, 0.9) == pytest.approx(decay)


def test_tied_weights_stay_tied_and_are_averaged_once() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    average = MovingAverage([*first.parameters(), *second.parameters()], WeightAverage(decay=0.5))
    half = first.weight.detach() / 2
    nn.init.zeros_(first.weight)
    average.update(10**6)

    with average.applied():
        assert first.weight is second.weight
        assert torch.equal(second.weight, half)

    assert not first.weight.any()


def test_what_does_not_move_is_its_own_average() -> None:
    layer = nn.Linear(50, 50)
    before = layer.weight.clone()
    average = MovingAverage(layer.parameters(), WeightAverage(decay=0.9))
    for step in range(100):
        average.update(step)

    with average.applied():
        assert torch.equal(layer.weight, before)
