"""GANs: samples of the generator, and the discriminator's features as an embedding.

Legend: D numbers of noise, S the shape of one example.
"""

import secrets
from math import prod
from typing import Any

import torch
from torch import Tensor

from app.contract.model_folder import InputKind
from worker.export import LoadedModel
from worker.models.gan import Gan
from worker.serving.predictors.embedding import BodyEmbedding
from worker.serving.predictors.protocol import Predictor
from worker.serving.predictors.readers import reader_of

MAX_COUNT = 1_000
#: Numbers in one answer: 40 MB of JSON, if they are pixels.
MAX_NUMBERS = 10_000_000


class Samples:
    """Pixels are whole numbers, as those of the training data are."""

    def __init__(self, module: Gan, input_kind: InputKind, shape: tuple[int, ...]) -> None:
        self.max_count = min(MAX_COUNT, max(1, MAX_NUMBERS // prod(shape)))
        self._module = module
        self._are_pixels = input_kind is InputKind.IMAGE

    def noise(self, count: int, seed: int | None) -> Tensor:
        random = torch.Generator().manual_seed(secrets.randbits(63) if seed is None else seed)
        return torch.randn(count, self._module.body.width, generator=random)

    def sample(self, noise: Tensor) -> Tensor:
        return self._module.generate(noise)

    def to_json(self, samples: Tensor) -> list[Any]:
        numbers: list[Any] = (samples.round().to(torch.uint8) if self._are_pixels else samples).tolist()
        return numbers


def gan(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Gan)
    body = loaded.description.body
    assert body.input_shape is not None
    return Predictor(
        method=loaded.description.method,
        embed=BodyEmbedding(loaded.module.body, reader_of(loaded)),
        generate=Samples(loaded.module, body.input, body.input_shape),
    )
