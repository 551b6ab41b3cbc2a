"""Pretraining by squared reconstruction error through a narrow code, on vectors or images.

Plain; denoising (Vincent et al. 2010), where the code is made from a corrupted input; or variational (Kingma and
Welling 2014), where it is drawn from a Gaussian that is kept near the prior. Both options may be taken together.

Legend: B batch, S the shape of one example, [F] or [C, H, W], F its numbers, D numbers of the code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from app.contract.messages import Assignment
from app.contract.model_folder import ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import Autoencoder as Spec
from app.contract.specs.methods import Reconstruction, Variational
from app.contract.specs.training import TrainingOptions
from worker.methods.example_method import ExampleMethod, Sides
from worker.methods.pretrain.start import Start, continued_among_examples, new_among_examples
from worker.models.autoencoder import Autoencoder, VariationalAutoencoder, divergence
from worker.training.protocols import Batch, Log


def prepare(assignment: Assignment, log: Log) -> "AutoencoderMethod":
    spec = assignment.spec
    assert isinstance(spec.method, Reconstruction)
    if isinstance(spec, PretrainSpec):
        start, sides = _new(assignment, spec, log)
    else:
        start, sides = continued_among_examples(assignment, log)
    assert isinstance(start.module, Autoencoder)
    return AutoencoderMethod(start.module, start.description, sides, spec.training, spec.method)


def _new(assignment: Assignment, spec: PretrainSpec, log: Log) -> tuple[Start, Sides]:
    method = spec.method
    assert isinstance(method, Spec)
    variational = method.variational is not None
    return new_among_examples(assignment, spec, method.architecture, method.code_size, log, variational=variational)


class AutoencoderMethod(ExampleMethod[Autoencoder]):
    """The loss is the mean squared error of a number, in standardised units: 1 is what the mean alone would get.

    A variational code adds 2 `kl_weight` KL(q(z|x) || N(0, I)) / F: with weight 1 the sum is, but for a constant, twice
    the paper's negative bound for each number, under observations of unit variance. Evaluations take the mean for the
    code, and never corrupt.
    """

    def __init__(
        self,
        model: Autoencoder,
        description: ModelDescription,
        sides: Sides,
        options: TrainingOptions,
        asked: Reconstruction,
    ) -> None:
        super().__init__(model, description, sides, options)
        self._noise_std = asked.denoising.noise_std if asked.denoising else 0.0
        self._kl_weight = (asked.variational or Variational()).kl_weight  # of a variational model alone

    def total(self, batch: Batch) -> Tensor:
        inputs = batch["inputs"]
        if not isinstance(self.model, VariationalAutoencoder):
            return self.model.errors(self.model.encode(self._corrupted(inputs)), inputs).sum()
        mean, log_variance = self.model.posterior(self._corrupted(inputs))
        errors = self.model.errors(self._drawn(mean, log_variance), inputs).sum()
        return errors + 2 * self._kl_weight * divergence(mean, log_variance).sum()

    def weight(self, batch: Batch) -> int:
        return batch["inputs"].numel()

    def metrics(self) -> Mapping[str, float]:
        total, count = 0.0, 0
        for batch in self.validation_batches():
            total += self.total(batch).item()
            count += self.weight(batch)
        return {"validation_loss": total / count}

    def _corrupted(self, inputs: Tensor) -> Tensor:
        """Raw numbers with noise of `noise_std` deviations: [B, S]"""
        if not (self._noise_std and self.model.training):
            return inputs
        scale = self._noise_std * self.model.body.standardization.std
        return inputs + scale * torch.randn(inputs.shape, device=inputs.device)

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """z = mean + sigma e, e from N(0, I) (the paper's eq. 10): [B, D]"""
        if not self.model.training:
            return mean
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
