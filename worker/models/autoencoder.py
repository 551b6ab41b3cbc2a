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
        return self.errors(self.body.encode(batch), batch["inputs"])

    def errors(self, code: Tensor, inputs: Tensor) -> Tensor:
        """The squared error of each number of what this code is read back as: [B, D], [B, S] -> [B, S]"""
        standardized: Tensor = self.body.standardization(inputs)
        return torch.square(self.decoder(code).float() - standardized)


class VariationalAutoencoder(Autoencoder):
    """The code of x is a Gaussian q(z|x) of independent numbers (Kingma and Welling 2014, appendix C.2). Its mean is
    what the body tells; its variance is read off from the same features, and serves training alone.
    """

    def __init__(self, body: MlpBody | ConvBody, decoder: MlpDecoder | ConvDecoder) -> None:
        super().__init__(body, decoder)
        assert isinstance(body.code, nn.Linear), "an autoencoder's body ends in a code"
        self.log_variance = nn.Linear(body.code.in_features, body.width)
        nn.init.zeros_(self.log_variance.weight)  # begins as the prior's
        nn.init.zeros_(self.log_variance.bias)

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] -> mean and log-variance of the code, fp32 [B, D] each"""
        features = self.body.features(inputs)
        return self.body.code(features).float(), self.log_variance(features).float()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q || N(0, I)) in nats, of each number of the code (appendix B): [B, D]"""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
