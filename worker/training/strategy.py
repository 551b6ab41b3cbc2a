"""The plain way of learning, which strategies of fine-tuning differ from. Knows no method and no loss."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import nn

from app.contract.messages import ArtifactLine, Resolved
from worker.training.protocols import RatedParameters, StepSource, Strategy


class PlainStrategy(Strategy):
    """All that has gradients learns alike, from the first step on."""

    def start(self, resolved: Resolved, data: StepSource) -> None:
        """Nothing depends on the length of the training."""

    def rated(self, parameters: Iterable[nn.Parameter]) -> Sequence[RatedParameters]:
        return [RatedParameters([*parameters])]

    def begin_step(self, step: int) -> None:
        """Every step is like the others."""

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        return ()
