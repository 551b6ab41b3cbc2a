"""Pretraining by squared reconstruction error through a narrow code, on vectors or images.

Legend: B batch, S the shape of one example, [F] or [C, H, W].
"""

from collections.abc import Mapping

from torch import Tensor

from app.contract.messages import Assignment
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import Autoencoder as Spec
from worker.methods.example_method import (
    ExampleMethod,
    described,
    fit_inputs,
    parted,
    pretrained_body,
    pretraining_data,
)
from worker.models.autoencoder import Autoencoder
from worker.models.building import build_module
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "AutoencoderMethod":
    spec = assignment.spec
    assert isinstance(spec, PretrainSpec)
    assert isinstance(spec.method, Spec)
    data, validation_data = pretraining_data(assignment, log)
    sides = parted(data, validation_data, spec.training)
    description = described(spec, pretrained_body(spec.method.architecture, data, spec.method.code_size))
    model = build_module(description)
    assert isinstance(model, Autoencoder)
    fit_inputs(model.body.standardization, sides.training)
    return AutoencoderMethod(model, description, sides, spec.training)


class AutoencoderMethod(ExampleMethod[Autoencoder]):
    """The loss is the mean squared error of a number, in standardised units: 1 is what the mean alone would get."""

    def total(self, batch: Batch) -> Tensor:
        errors: Tensor = self.model(batch)
        return errors.sum()

    def weight(self, batch: Batch) -> int:
        return batch["inputs"].numel()

    def metrics(self) -> Mapping[str, float]:
        total, count = 0.0, 0
        for batch in self.validation_batches():
            total += self.total(batch).item()
            count += self.weight(batch)
        return {"validation_loss": total / count}
