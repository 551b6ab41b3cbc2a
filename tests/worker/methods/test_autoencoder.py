"""What the options of an autoencoder do, each against its paper."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from app.contract.messages import Assignment
from tests.contract import autoencoder, datasets
from tests.contract.assignments import pretraining
from tests.contract.runs import final_checkpoint, prepared, run_here
from worker.export import load_model
from worker.methods.pretrain.autoencoder import AutoencoderMethod
from worker.models.autoencoder import Autoencoder, VariationalAutoencoder, divergence

HIDDEN, SEEN = 2, 8


def points(count: int, seed: int) -> Tensor:
    """On a plane through a space of eight dimensions: float [count, 8], unit variance on average."""
    plane = torch.linalg.qr(torch.randn(SEEN, HIDDEN, generator=torch.Generator().manual_seed(0))).Q
    hidden = torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed))
    spread: Tensor = math.sqrt(SEEN / HIDDEN) * hidden @ plane.T
    return spread


def trained(folder: Path, **options: Any) -> Autoencoder:
    """With a code as wide as its input, where nothing but the options keeps it from copying."""
    folder.mkdir()
    np.savez(folder / "points.npz", features=points(400, seed=1).numpy())
    method = {"type": "autoencoder", "architecture": {"type": "mlp", "hidden_widths": [64]}, "code_size": SEEN}
    optimizer = {"type": "adam", "learning_rate": 5e-3}
    assignment = pretraining(
        folder,
        datasets.dataset(folder / "points.npz", "vectors"),
        method | options,
        duration={"steps": 300},
        batch_size=64,
        optimizer=optimizer,
    )
    module = load_model(final_checkpoint(run_here(assignment)) / "model").module
    assert isinstance(module, Autoencoder)
    return module


def method_of(assignment: Assignment) -> AutoencoderMethod:
    method = prepared(assignment)
    assert isinstance(method, AutoencoderMethod)
    for module in method.module.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return method


def test_a_denoising_autoencoder_removes_noise_that_a_plain_one_copies(tmp_path: Path) -> None:
    plain, denoising = trained(tmp_path / "a"), trained(tmp_path / "b", denoising={"noise_std": 0.7})
    clean = points(500, seed=2)
    noisy = clean + 0.7 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))

    with torch.no_grad():
        errors = [float((module.reconstruct(noisy) - clean).square().mean()) for module in (plain, denoising)]

    assert errors[0] > 0.35, "of 0.49, the variance of the noise"
    assert errors[1] < 0.6 * errors[0]


def test_inputs_are_corrupted_in_training_only_by_noise_of_the_deviation_that_was_asked_for(tmp_path: Path) -> None:
    method = method_of(autoencoder.of_vectors(tmp_path, denoising={"noise_std": 0.2}))
    inputs = method.train_data.micro_batches(0)[0]["inputs"].repeat(200, 1)

    noise = (method._corrupted(inputs) - inputs) / method.model.body.standardization.std

    torch.testing.assert_close(noise.std(0), torch.full((6,), 0.2), rtol=0.1, atol=0)
    torch.testing.assert_close(noise.mean(0), torch.zeros(6), rtol=0, atol=0.03)
    method.module.eval()
    assert method._corrupted(inputs) is inputs


def test_the_divergence_is_that_of_the_distributions() -> None:
    mean, log_variance = torch.randn(2, 5, 3).unbind()

    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))

    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_the_variational_loss_is_the_bound_of_the_paper(tmp_path: Path) -> None:
    """Twice E_q[-log p(x|z)] + KL(q || p) with p(x|z) = N(decoder(z), I), less its constant; the mean of many draws."""
    method = method_of(autoencoder.of_vectors(tmp_path, variational={"kl_weight": 1.0}))
    model, inputs = method.model, method.train_data.micro_batches(0)[0]["inputs"]
    assert isinstance(model, VariationalAutoencoder)
    nn.init.normal_(model.log_variance.weight, std=0.5)
    torch.manual_seed(0)
    with torch.no_grad():
        loss = method.total({"inputs": inputs.repeat(2_000, 1)}) / 2_000
        mean, log_variance = model.posterior(inputs)
        posterior, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)
        codes = mean + posterior.stddev * torch.randn(2_000, *mean.shape)
        seen = model.decoder(codes.flatten(0, 1)).view(2_000, *inputs.shape)
        log_density = -0.5 * (model.body.standardization(inputs) - seen).square() - 0.5 * math.log(2 * math.pi)
        likelihood = log_density.mean(0).sum()
        bound = likelihood - kl_divergence(posterior, prior).sum()

    constant = inputs.numel() * math.log(2 * math.pi)
    assert float(loss) == pytest.approx(float(-2 * bound - constant), rel=0.02)


def test_a_variational_code_fills_the_prior_and_leaves_what_it_does_not_need(tmp_path: Path) -> None:
    """On a plane two numbers of the code suffice: the others stay the prior's (posterior collapse, here a virtue)."""
    module = trained(tmp_path / "a", variational={"kl_weight": 0.1})
    assert isinstance(module, VariationalAutoencoder)

    with torch.no_grad():
        mean, log_variance = module.posterior(points(1_000, seed=2))
        samples = module.decoder(torch.randn(1_000, SEEN, generator=torch.Generator().manual_seed(4)))
    informative = divergence(mean, log_variance).mean(0) > 0.2  # nats

    assert int(informative.sum()) == HIDDEN
    covariance = module.body.standardization(points(1_000, seed=2)).T.cov()
    assert float((samples.T.cov() - covariance).norm() / covariance.norm()) < 0.4


@torch.no_grad()
def test_the_code_of_a_variational_autoencoder_is_its_mean(tmp_path: Path) -> None:
    model = method_of(autoencoder.of_vectors(tmp_path, variational={})).model.eval()
    assert isinstance(model, VariationalAutoencoder)
    inputs = torch.randn(4, 6) * 1_000

    assert torch.equal(model.encode(inputs), model.posterior(inputs)[0])
    assert torch.equal(model.encode(inputs), model.encode(inputs))
