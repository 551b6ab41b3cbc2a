"""Bodies over vectors and images, their decoders and the scaling inside them."""

import pytest
import torch

from worker.models.autoencoder import Autoencoder
from worker.models.conv import ConvBody, ConvDecoder
from worker.models.mlp import MlpBody, MlpDecoder
from worker.models.standardization import Standardization

IMAGE_SHAPES = [(1, 2, 2), (1, 8, 8), (3, 7, 5), (2, 28, 28), (1, 2, 33)]


def autoencoder(kind: str, shape: tuple[int, ...], code_size: int = 6) -> Autoencoder:
    torch.manual_seed(0)
    if kind == "mlp":
        return Autoencoder(MlpBody(shape, (12, 9), 0.0, code_size), MlpDecoder(shape, (12, 9), 0.0, code_size))
    return Autoencoder(ConvBody(shape, (4, 8), 0.0, code_size), ConvDecoder(shape, (4, 8), 0.0, code_size))


@pytest.mark.parametrize("shape", IMAGE_SHAPES)
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_images_of_any_size_come_back_in_their_shape(kind: str, shape: tuple[int, ...]) -> None:
    module = autoencoder(kind, shape)
    images = torch.randint(0, 256, (5, *shape), dtype=torch.uint8)

    reconstruction = module.reconstruct(images)

    assert module.encode(images).shape == (5, 6)
    assert reconstruction.shape == images.shape
    assert reconstruction.min() >= 0
    assert reconstruction.max() <= 255


def test_vectors_come_back_in_their_shape() -> None:
    module = autoencoder("mlp", (10,))

    assert module.reconstruct(torch.randn(4, 10)).shape == (4, 10)


def test_standardization_brings_each_feature_to_zero_mean_and_unit_variance() -> None:
    values = torch.randn(1_000, 3) * torch.tensor([1e-3, 1.0, 1e4]) + torch.tensor([5.0, 0.0, -1e5])
    scaling = Standardization((3,))
    scaling.fit([values[:300], values[300:]])

    scaled = scaling(values)

    torch.testing.assert_close(scaled.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaling.undo(scaled), values, atol=1e-5, rtol=1e-5)


def test_a_constant_feature_is_centred_and_not_blown_up() -> None:
    scaling = Standardization((2,))
    scaling.fit([torch.tensor([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]])])

    assert scaling(torch.tensor([[0.1, 3.0], [0.2, 3.0]])).abs().max() < 0.2


def test_pixels_are_scaled_by_channel() -> None:
    images = torch.stack([torch.full((4, 4), 10.0), torch.arange(16.0).view(4, 4)]).expand(2, 2, 4, 4)
    scaling = Standardization((2, 4, 4))
    scaling.fit([images])

    assert scaling.mean.flatten().tolist() == [10.0, 7.5]
    assert scaling(images)[:, 0].abs().max() == 0


def test_an_mlp_computes_its_formula() -> None:
    body = MlpBody((4,), (3, 2))
    body.standardization.fit([torch.randn(50, 4) * 3 + 1])
    x = torch.randn(6, 4)

    hidden = (x - body.standardization.mean) / body.standardization.std
    for layer in (body.layers[0], body.layers[3]):
        assert isinstance(layer, torch.nn.Linear)
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)

    torch.testing.assert_close(body.encode({"inputs": x}), hidden)


def test_dropout_acts_in_training_only() -> None:
    body = MlpBody((4,), (64,), dropout=0.5)
    x = {"inputs": torch.randn(3, 4)}

    assert not torch.equal(body.train().encode(x), body.encode(x))
    assert torch.equal(body.eval().encode(x), body.encode(x))
