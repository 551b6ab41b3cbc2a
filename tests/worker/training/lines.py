"""A method so small that the loop around it is all there is: a straight line through points."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from app.contract.messages import ArtifactLine, Resolved
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import MlpArchitecture
from app.contract.specs.training import TrainingOptions
from worker.training.protocols import Batch
from worker.training.single_loss import SingleLossMethod
from worker.training.trainer import Trainer

DESCRIPTION = ModelDescription(
    kind="pretrain",
    method="regression",
    body=BodyDescription(architecture=MlpArchitecture(), input=InputKind.FEATURES, granularity=Granularity.EXAMPLE),
    num_parameters=5,
)


class Points:
    """Eight points a step, in `num_micro_batches` parts of unlike sizes."""

    num_examples = 80
    steps_per_epoch = 10.0
    tokens_per_step = None

    def __init__(self, num_micro_batches: int = 1) -> None:
        self._num_micro_batches = num_micro_batches

    def micro_batches(self, step: int) -> list[Batch]:
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        targets = inputs.sum(dim=1, keepdim=True)
        sizes = [8] if self._num_micro_batches == 1 else [5, 2, 1]
        parts = zip(torch.split(inputs, sizes), torch.split(targets, sizes), strict=True)
        return [{"inputs": part, "targets": target} for part, target in parts]


class Line(SingleLossMethod):
    """`validation_losses`: what each evaluation tells, by the step it stands at; else the distance to the truth."""

    def __init__(self, num_micro_batches: int = 1, validation_losses: Mapping[int, float] | None = None) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 1), Points(num_micro_batches), num_validation_examples=8)
        self.validation_losses = validation_losses
        self.steps_done = 0
        self.losses: list[float] = []
        self.before_step: Callable[[int], None] = lambda _: None

    def total(self, batch: Batch) -> Tensor:
        return torch.square(self.module(batch["inputs"]) - batch["targets"]).sum()

    def weight(self, batch: Batch) -> int:
        return len(batch["inputs"])

    def train_step(self, *arguments: Any) -> Mapping[str, Tensor]:
        self.before_step(self.steps_done)
        self.steps_done += 1
        values = super().train_step(*arguments)
        self.losses.append(float(values["train_loss"]))
        return values

    def metrics(self) -> Mapping[str, float]:
        if self.validation_losses is not None:
            return {"validation_loss": self.validation_losses[self.steps_done]}
        return {"validation_loss": float(sum((each - 1).square().sum() for each in self.module.parameters()))}

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        path = folder / "progress.txt"
        path.write_text(f"after {self.steps_done} steps")
        return [ArtifactLine(name=path.name, path=path, media_type="text/plain")]

    def describe(self) -> ModelDescription:
        return DESCRIPTION

    def export(self, folder: Path) -> None:
        (folder / "weights").write_text(str([each.tolist() for each in self.module.parameters()]))


def trainer(
    method: Line, folder: Path, report: Callable[[Any], None], stop: threading.Event | None = None, **options: Any
) -> Trainer:
    """20 steps, evaluated and kept every 5th, unless told otherwise."""
    resolved = {
        name: options.pop(name, default)
        for name, default in {
            "total_steps": 20,
            "evaluate_every_steps": 5,
            "checkpoint_every_steps": 5,
            "num_validation_examples": 8,
        }.items()
    }
    folder.mkdir(exist_ok=True)
    return Trainer(
        method,
        TrainingOptions.model_validate({"optimizer": {"type": "adamw", "learning_rate": 0.05}} | options),
        Resolved(
            device="cpu",
            precision="fp32",
            compile=False,
            num_parameters=5,
            num_train_examples=80,
            **resolved,
        ),
        output_dir=folder,
        report=report,
        stop=stop or threading.Event(),
    )
