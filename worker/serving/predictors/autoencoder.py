"""Autoencoders: the reconstruction, the code, and how far the one is from the input. Legend: B batch, S one example."""

from collections.abc import Sequence
from typing import Any

import torch

from worker.export import LoadedModel
from worker.models.autoencoder import Autoencoder
from worker.serving.predictors.embedding import BodyEmbedding
from worker.serving.predictors.protocol import Encoded, Predictor
from worker.serving.predictors.readers import InputReader, reader_of

Reconstruction = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Reconstructing:
    """`error` is the mean squared difference of input and reconstruction, in the squared units of the data."""

    def __init__(self, module: Autoencoder, reader: InputReader) -> None:
        self.limits = reader.limits
        self._module = module
        self._reader = reader

    def encode_pre(self, inputs: Sequence[Any]) -> Encoded:
        return Encoded(self._reader.read_all(inputs))

    def encode_core(self, values: Sequence[Any]) -> list[Reconstruction]:
        """-> for each row its reconstruction [S], its code [D] and its error []"""
        inputs = self._reader.collate(values)["inputs"]
        reconstructions = self._module.reconstruct(inputs)
        errors = (reconstructions - inputs).square().flatten(1).mean(1)
        return list(zip(reconstructions, self._module.encode(inputs), errors, strict=True))

    def encode_post(self, encoded: Encoded, results: Sequence[Reconstruction]) -> list[dict[str, Any]]:
        return [
            {"reconstruction": reconstruction.tolist(), "code": code.tolist(), "error": error.item()}
            for reconstruction, code, error in results
        ]


def autoencoder(loaded: LoadedModel) -> Predictor:
    assert isinstance(loaded.module, Autoencoder)
    reader = reader_of(loaded)
    return Predictor(
        method=loaded.description.method,
        predict=Reconstructing(loaded.module, reader),
        embed=BodyEmbedding(loaded.module.body, reader),
    )
