"""How a fine-tune treats what it inherits, whatever it learns: as its method made it, each is put over the module."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import assert_never

from torch import nn
from torch._dynamo import config as dynamo

from app.contract.compatibility import has_new_head
from app.contract.linear_layers import adapted_layers, kinds
from app.contract.messages import ArtifactLine, Assignment, Resolved
from app.contract.model_folder import ModelDescription
from app.contract.specs import FinetuneSpec
from app.contract.specs import strategies as specs
from worker.methods.finetune.adapter_files import write_adapter
from worker.models.body import Body
from worker.models.lora import adapt
from worker.training.protocols import Builder, Log, Method, RatedParameters, StepSource, Strategy
from worker.training.resolution import steps_of
from worker.training.strategy import PlainStrategy


def fine_tuning(prepare: Builder) -> Builder:
    """What `prepare` makes, under the strategy of the spec."""

    def build(assignment: Assignment, log: Log) -> Method:
        spec = assignment.spec
        assert isinstance(spec, FinetuneSpec)
        method = prepare(assignment, log)
        method.strategy = _strategy(spec, method)
        return method

    return build


def _strategy(asked: FinetuneSpec, method: Method) -> Strategy:
    module, spec = method.module, asked.strategy
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
        case specs.LoraStrategy():
            return LowRank(module, body, method.describe(), asked, spec)
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
        # Each thaw is compiled anew. Beyond its limits the compiler gives up, which a resumed run would do later.
        dynamo.recompile_limit = max(dynamo.recompile_limit, 4 * self._first_frozen)
        dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, 4 * self._first_frozen)
        if self._unfreeze_every is not None:
            self._steps_a_stage = steps_of(self._unfreeze_every, data)
        else:
            self._steps_a_stage = max(1, resolved.total_steps // 2 // max(1, self._first_frozen))

    def begin_step(self, step: int) -> None:
        num_frozen = max(0, self._first_frozen - step // self._steps_a_stage)
        if num_frozen != self._num_frozen:
            self._body.freeze(num_frozen)
            self._num_frozen = num_frozen


class LowRank(PlainStrategy):
    """Adapters in the body learn, and the head where it is new; all else stays as the parent has it."""

    def __init__(
        self,
        module: nn.Module,
        body: Body,
        description: ModelDescription,
        asked: FinetuneSpec,
        spec: specs.LoraStrategy,
    ) -> None:
        self._module = module
        self._asked = asked
        self._spec = spec
        self._layers = adapted_layers(description.body, spec.targets)
        inherited = body if has_new_head((asked.kind, asked.method.type)) else module
        inherited.requires_grad_(False)
        adapt(body, [layer.name for layer in self._layers], spec.rank, spec.alpha, spec.dropout)

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        targets = kinds(self._layers) if self._spec.targets == "all_linear" else self._spec.targets
        return write_adapter(folder, self._module, self._asked, self._spec, targets)
