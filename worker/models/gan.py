"""A generator that makes examples out of noise, and a discriminator that tells them from real ones.

Legend: B batch, S the shape of one example, [F] or [C, H, W], D numbers of noise and of features.
"""

from collections.abc import Mapping

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from worker.models.conv import ConvBody, ConvDecoder
from worker.models.mlp import MlpBody, MlpDecoder

#: Of the slope of rectifiers below zero in a discriminator: Radford et al. 2016, section 3.
_NEGATIVE_SLOPE = 0.2


class Gan(nn.Module):
    """G and D of Goodfellow et al. 2014. D is the body, whose features a fine-tune inherits, and a head of one logit;
    G is the body's mirror. Examples are in the data's own units on both sides.
    """

    def __init__(self, body: MlpBody | ConvBody, generator: MlpDecoder | ConvDecoder) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(body.width, 1)
        self.generator = generator

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """batch["inputs"] [B, S] -> logits [B]: D(x), the probability of being real, is their sigmoid."""
        features = F.leaky_relu(self.body.encode(batch), _NEGATIVE_SLOPE)
        logits: Tensor = self.head(features).squeeze(1)
        return logits.float()

    def generate(self, noise: Tensor) -> Tensor:
        """z [B, D], drawn from N(0, I) -> G(z) [B, S]. Pixels are bounded by a sigmoid: black has to be black exactly,
        or the discriminator looks at nothing else."""
        raw: Tensor = self.generator(noise)
        return raw.float().sigmoid() * 255.0 if raw.dim() == 4 else self.body.standardization.undo(raw)
