"""What the loop asks of a method and of its data. Knows no method, no loss and no model.

Everything random in step k (its examples, their order, dropout) is a pure function of (data, seed, k), so that a run
resumed at k goes on exactly as if it had never stopped.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from app.contract.messages import ArtifactLine, Assignment, Resolved
from app.contract.model_folder import ModelDescription

Batch = dict[str, Tensor]

#: Tells the user what goes on; also a sign of life where preparation takes minutes.
Log = Callable[[str], None]


class StepSource(Protocol):
    """Training data, cut into optimizer steps. Stateless: any thread may ask for any step at any time."""

    @property
    def num_examples(self) -> int:
        """Of an epoch."""

    @property
    def steps_per_epoch(self) -> float:
        """Examples stream on from one epoch into the next, so an epoch need not end with a step (worker.data.order)."""

    @property
    def tokens_per_step(self) -> int | None:
        """None where the method counts no tokens; the mean where steps differ."""

    def micro_batches(self, step: int) -> Sequence[Batch]:
        """The batch of step `step` (from 0) in `gradient_accumulation_steps` parts or fewer, on the CPU."""


class OptimizerStep(Protocol):
    """One optimizer with its schedule and clipping."""

    def apply(self, gradient_divisor: Tensor | float = 1.0) -> Tensor:
        """Divide the gathered gradients, clip, update, clear. -> the gradient's norm before clipping; no host sync."""


class RatedParameters(NamedTuple):
    """Parameters that learn at `rate_scale` times their optimizer's rate."""

    parameters: Sequence[nn.Parameter]
    rate_scale: float = 1.0


class Strategy(Protocol):
    """What of a module learns, how fast, and from which step on: a pure function of the step, kept in no state."""

    def start(self, resolved: Resolved, data: StepSource) -> None:
        """Called once, when the length of the training is known."""

    def rated(self, parameters: Iterable[nn.Parameter]) -> Sequence[RatedParameters]:
        """Those of one optimizer, by the rate that they learn at."""

    def begin_step(self, step: int) -> None:
        """Called before step `step` (from 0); a resumed run begins with a later one."""

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        """Files that only this strategy has to show, beside a method's own."""


class Method(Protocol):
    """One way of learning, prepared on one data set. `module` holds all weights and buffers that training changes."""

    module: nn.Module
    strategy: Strategy
    train_data: StepSource
    num_validation_examples: int

    def start(self, resolved: Resolved) -> None:
        """Called once, before anything is computed: move to the device, take the precision, compile if asked."""

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """The parameters of each optimizer that are to learn, by its name: one for most methods, two for a GAN."""

    def train_step(
        self, micro_batches: Sequence[Batch], optimizers: Mapping[str, OptimizerStep]
    ) -> Mapping[str, Tensor]:
        """One update from batches on the device. -> scalars to report, `train_loss` among them; no host sync."""

    def evaluate(self) -> Mapping[str, float]:
        """Metrics on the validation data, `validation_loss` among them. Called only where there is such data."""

    def artifacts(self, folder: Path) -> Sequence[ArtifactLine]:
        """Files that show the user what the model has learned, written into an existing, empty folder. Called whenever
        this is the model that the job would leave behind: at each best evaluation, or at the end where there is none.
        """

    def describe(self) -> ModelDescription: ...

    def export(self, folder: Path) -> None:
        """Write the model folder (app.contract.model_folder) into an existing, empty folder."""


#: Builds a method from local files only; all that is random in it comes from the seed of the spec. Raises BadData.
Builder = Callable[[Assignment, Log], Method]
