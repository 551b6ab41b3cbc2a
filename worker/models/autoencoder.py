"""A body that writes a narrow code, and a decoder that reads it back.

Legend: B batch, S the shape of one example ([F] or [C, H, W]), D size of the code.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from worker.models.conv import ConvBody, ConvDecoder
from worker.models.mlp import MlpBody, MlpDecoder


class Autoencoder(nn.Module):
    """x -> code(x) -> x' (Hinton and Salakhutdinov 2006). Inputs and reconstructions are in the data's own units."""

    def __init__(self, body: MlpBody | ConvBody, decoder: MlpDecoder | ConvDecoder) -> None:
        super().__init__()
        self.body = body
        self.decoder = decoder

    def encode(self, inputs: Tensor) -> Tensor:
        """[B, S] -> the code [B, D]"""
        return self.body.encode({"inputs": inputs})

    def reconstruct(self, inputs: Tensor) -> Tensor:
        """[B, S] -> [B, S] in the data's units; pixels stay within 0..255."""
        raw = self.body.standardization.undo(self.decoder(self.encode(inputs)))
        return raw.clamp(0.0, 255.0) if raw.dim() == 4 else raw

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """batch["inputs"] [B, S] -> the squared error of each number [B, S], in standardised units.

        Standardised, so that no feature weighs more for being told in smaller units.
        """
        standardized: Tensor = self.body.standardization(batch["inputs"])
        return torch.square(self.decoder(self.body.encode(batch)).float() - standardized)
