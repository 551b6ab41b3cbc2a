"""Pretraining by a game of two networks (Goodfellow et al. 2014): a generator makes examples, a discriminator judges.

The generator's loss is to be *minimised*: -log D(G(z)), or log(1 - D(G(z))) in the paper's first form. The source text
writes it with the opposite sign convention, under which a descent would teach the generator to be found out.

Legend: B batch, S the shape of one example, D numbers of noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.messages import ArtifactLine, Assignment, Resolved
from app.contract.model_folder import InputKind, ModelDescription
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import AdversarialLoss
from app.contract.specs.methods import Gan as Spec
from app.contract.specs.training import TrainingOptions
from worker.methods.example_method import LearnsFromExamples, Sides
from worker.methods.frechet import Gaussian, RandomFeatures
from worker.methods.pictures import picture_grid
from worker.methods.pretrain.start import continued_among_examples, new_among_examples
from worker.models.gan import Gan
from worker.training.protocols import Batch, Log, OptimizerStep

GeneratorLoss = Literal["non_saturating", "minimax"]

#: Samples that an evaluation looks at; their noise is always the same, so that evaluations compare.
EVALUATED_SAMPLES = 1_024
SHOWN_SAMPLES, COLUMNS = 64, 8
_NOISE_SEED = 0


def prepare(assignment: Assignment, log: Log) -> "GanMethod":
    spec = assignment.spec
    assert isinstance(spec.method, AdversarialLoss)
    if isinstance(spec, PretrainSpec):
        assert isinstance(spec.method, Spec)
        start, sides = new_among_examples(assignment, spec, spec.method.architecture, spec.method.noise_size, log)
    else:
        start, sides = continued_among_examples(assignment, log)
    assert isinstance(start.module, Gan)
    return GanMethod(start.module, start.description, sides, spec.training, spec.method.generator_loss)


def discriminator_losses(real: Tensor, made: Tensor) -> Tensor:
    """Logits [B] of real and of made examples -> -log D(x) - log(1 - D(G(z))) [B]: 2 log 2 where D cannot tell."""
    return F.softplus(-real) + F.softplus(made)


def generator_losses(made: Tensor, form: GeneratorLoss) -> Tensor:
    """Logits [B] of made examples -> -log D(G(z)), or log(1 - D(G(z))); both fall as the discriminator is deceived."""
    return F.softplus(-made) if form == "non_saturating" else -F.softplus(made)


class GanMethod(LearnsFromExamples[Gan]):
    """One step of the discriminator, then one of the generator, each on noise of its own (algorithm 1, k = 1).

    `validation_loss` is the Frechet distance of samples to the validation examples, in random features: the losses of a
    game tell who is winning, not how good the samples are.
    """

    def __init__(
        self,
        model: Gan,
        description: ModelDescription,
        sides: Sides,
        options: TrainingOptions,
        generator_loss: GeneratorLoss,
    ) -> None:
        super().__init__(model, description, sides, options)
        self._generator_loss = generator_loss
        self._noise_size = model.body.width
        self._discriminator_total = self.discriminator_total
        self._generator_total = self.generator_total

    def start(self, resolved: Resolved) -> None:
        super().start(resolved)
        self._discriminator_total = self.compute.compiled(self.discriminator_total)
        self._generator_total = self.compute.compiled(self.generator_total)

    def parameter_groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        players = {"discriminator": (self.model.body, self.model.head), "generator": (self.model.generator,)}
        return {
            name: [each for part in parts for each in part.parameters() if each.requires_grad]
            for name, parts in players.items()
        }

    def train_step(
        self, micro_batches: Sequence[Batch], optimizers: Mapping[str, OptimizerStep]
    ) -> Mapping[str, Tensor]:
        d_loss, d_norm = self._descend("discriminator", micro_batches, optimizers["discriminator"])
        g_loss, g_norm = self._descend("generator", micro_batches, optimizers["generator"])
        return {
            "train_loss": d_loss + g_loss,
            "d_loss": d_loss,
            "g_loss": g_loss,
            "d_gradient_norm": d_norm,
            "g_gradient_norm": g_norm,
        }

    def discriminator_total(self, inputs: Tensor, noise: Tensor) -> Tensor:
        """Summed over the batch; the generator is not taught by it."""
        with torch.no_grad():
            made = self.model.generate(noise)
        return discriminator_losses(self.model({"inputs": inputs}), self.model({"inputs": made})).sum()

    def generator_total(self, noise: Tensor) -> Tensor:
        return generator_losses(self.model({"inputs": self.model.generate(noise)}), self._generator_loss).sum()

    def metrics(self) -> Mapping[str, float]:
        return {"validation_loss": self._validation_gaussian.distance(self._features.gaussian(self._samples()))}

    def shown(self, folder: Path) -> Sequence[ArtifactLine]:
        """Samples of the noise that evaluations look at too, where a sample is a picture."""
        if self.describe().body.input is not InputKind.IMAGE:
            return ()
        return [picture_grid(self.model.generate(self._fixed_noise(SHOWN_SAMPLES)), COLUMNS, folder, "samples.png")]

    def _descend(
        self, player: Literal["discriminator", "generator"], micro_batches: Sequence[Batch], optimizer: OptimizerStep
    ) -> tuple[Tensor, Tensor]:
        """-> the player's mean loss and the norm of its gradient; the other player's gradients stay as they are."""
        parameters = self.parameter_groups()[player]
        totals, count = [], 0
        for batch in micro_batches:
            inputs = batch["inputs"]
            noise = torch.randn(len(inputs), self._noise_size, device=inputs.device)
            with self.compute.autocast():
                total = (
                    self._discriminator_total(inputs, noise)
                    if player == "discriminator"
                    else self._generator_total(noise)
                )
            total.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            totals.append(total.detach())
            count += len(inputs)
        return torch.stack(totals).sum() / count, optimizer.apply(gradient_divisor=count)

    @cached_property
    def _features(self) -> RandomFeatures:
        return RandomFeatures(prod(self.describe().body.input_shape or ()))

    @cached_property
    def _validation_gaussian(self) -> Gaussian:
        scale = self.model.body.standardization
        return self._features.gaussian(scale(batch["inputs"]) for batch in self.validation_batches())

    def _samples(self) -> Iterator[Tensor]:
        """Standardised, in batches."""
        for noise in torch.split(self._fixed_noise(EVALUATED_SAMPLES), self._evaluation_batch_size):
            yield self.model.body.standardization(self.model.generate(noise))

    def _fixed_noise(self, count: int) -> Tensor:
        random = torch.Generator().manual_seed(_NOISE_SEED)
        return torch.randn(count, self._noise_size, generator=random).to(self.compute.device)
