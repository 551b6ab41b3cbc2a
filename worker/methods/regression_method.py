"""Mean squared error on one or more targets, as pretraining and fine-tuning share it.

Legend: B batch, K targets, n validation examples.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from worker.data.examples import Answers, DataSet, Subset
from worker.data.failures import BadData
from worker.methods.example_method import ExampleMethod, Sides
from worker.models.heads import Regressor
from worker.training.protocols import Batch


class RegressionMethod(ExampleMethod[Regressor]):
    """The loss is the mean squared error of a target in standardised units, so that no target weighs more for being
    told in smaller ones; `rmse` is in the targets' own."""

    def total(self, batch: Batch) -> Tensor:
        """batch: what the body reads, and `targets` float32 [B, K]"""
        wanted = self.model.target_standardization(batch["targets"])
        return torch.square(self.model.read(batch).float() - wanted).sum()

    def weight(self, batch: Batch) -> int:
        return batch["targets"].numel()

    def metrics(self) -> Mapping[str, float]:
        batches = [(self.model.read(batch).float(), batch["targets"]) for batch in self.validation_batches()]
        outputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
        scale = self.model.target_standardization
        errors = (scale.undo(outputs) - targets).double()
        return {
            "validation_loss": torch.square(outputs - scale(targets)).mean().item(),
            "rmse": math.sqrt(errors.square().mean().item()),
            "r2": _explained(errors, targets.double()),
        }


def targets_of(data: DataSet) -> Answers:
    assert data.targets is not None
    return {"targets": data.targets}


def target_size(sides: Sides) -> int:
    """Raises BadData where the two sides have unlike targets."""
    size, other = (side.answers["targets"].shape[1] for side in (sides.training, sides.validation))
    if size != other:
        raise BadData(
            f"An example of the validation data has {other} targets, and one of the training data {size}. "
            "Give a validation data set with the same targets."
        )
    return int(size)


def fit_targets(model: Regressor, training: Subset) -> None:
    model.target_standardization.fit([torch.from_numpy(training.answers["targets"][training.indices])])


def _explained(errors: Tensor, targets: Tensor) -> float:
    """R2, the share of the variance explained, averaged over targets: [n, K] both -> at most 1.

    Targets that do not vary have none to explain: 1 where they are met exactly, else 0, as scikit-learn has it.
    """
    unexplained = errors.square().sum(0)
    variation = (targets - targets.mean(0)).square().sum(0)
    shares = torch.where(variation > 0, 1 - unexplained / variation, (unexplained == 0).double())
    return shares.mean().item()
