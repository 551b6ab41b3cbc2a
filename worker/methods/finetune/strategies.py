"""How a fine-tune treats what it inherits, whatever it learns: as its method made it, each is put over the module."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import assert_never

from torch import nn

from app.contract.messages import Assignment, Resolved
from app.contract.specs import FinetuneSpec
from app.contract.specs import strategies as specs
from worker.models.body import Body
from worker.training.protocols import Builder, Log, Method, RatedParameters, StepSource, Strategy
from worker.training.resolution import steps_of
from worker.training.strategy import PlainStrategy


def fine_tuning(prepare: Builder) -> Builder:
    """What `prepare` makes, under the strategy of the spec."""

    def build(assignment: Assignment, log: Log) -> Method:
        assert isinstance(assignment.spec, FinetuneSpec)
        method = prepare(assignment, log)
        method.strategy = _strategy(assignment.spec.strategy, method.module)
        return method

    return build


def _strategy(spec: specs.Strategy, module: nn.Module) -> Strategy:
    body = module.body
    assert isinstance(body, Body)
    match spec:
        case specs.FullStrategy():
            return LayerRates(body, spec.layer_learning_rate_decay)
        case specs.FrozenStrategy():
            body.freeze(len(body.stages()))
            return PlainStrategy()
        case specs.GradualUnfreezingStrategy():
            return GradualUnfreezing(module, body, spec)
        case _:
            assert_never(spec)


class LayerRates(PlainStrategy):
    """Layer l of L, the head being L + 1, learns at decay^(L + 1 - l) of the rate (Howard and Ruder 2018, section 3.2,
    where decay is 1 / 2.6). What stands outside the body counts as the head; a matrix that both share is the body's.
    """

    def __init__(self, body: Body, decay: float) -> None:
        self._scales = {
            id(parameter): decay**depth
            for depth, stage in enumerate(reversed(body.stages()), start=1)
            for parameter in stage.parameters()
        }

    def rated(self, parameters: Iterable[nn.Parameter]) -> Sequence[RatedParameters]:
        by_scale: dict[float, list[nn.Parameter]] = defaultdict(list)
        for parameter in parameters:
            by_scale[self._scales.get(id(parameter), 1.0)].append(parameter)
        return [RatedParameters(alike, scale) for scale, alike in by_scale.items()]


class GradualUnfreezing(LayerRates):
    """Howard and Ruder 2018, section 3.3. The head comes first, or the top layer where no weight is the head's own."""

    def __init__(self, module: nn.Module, body: Body, spec: specs.GradualUnfreezingStrategy) -> None:
        super().__init__(body, spec.layer_learning_rate_decay)
        self._body = body
        self._unfreeze_every = spec.unfreeze_every
        has_head = len([*module.parameters()]) > len([*body.parameters()])
        self._first_frozen = len(body.stages()) - (not has_head)
        self._steps_a_stage = 1
        self._num_frozen: int | None = None

    def start(self, resolved: Resolved, data: StepSource) -> None:
        if self._unfreeze_every is not None:
            self._steps_a_stage = steps_of(self._unfreeze_every, data)
        else:
            self._steps_a_stage = max(1, resolved.total_steps // 2 // max(1, self._first_frozen))

    def begin_step(self, step: int) -> None:
        num_frozen = max(0, self._first_frozen - step // self._steps_a_stage)
        if num_frozen != self._num_frozen:
            self._body.freeze(num_frozen)
            self._num_frozen = num_frozen
