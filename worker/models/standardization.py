"""Brings raw numbers to zero mean and unit variance inside the module, so that a model folder takes raw user input.

Legend: B batch, n examples of a chunk, F features, C channels, H height, W width, K targets.
Knows no data set: `fit` is given numbers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: A spread below this share of the mean's size is rounding, not variation: the number is only centred.
NEGLIGIBLE_SPREAD = 1e-6


class Standardization(nn.Module):
    """z = (x - mean) / std, with `mean` and `std` as buffers: [F] for vectors, [C, 1, 1] for images.

    Features are scaled one by one; pixels by channel, since a position's own statistics would amplify the noise of
    borders that are always dark (LeCun et al. 1998, "Efficient BackProp", section 4.3).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, example_shape: tuple[int, ...]) -> None:
        super().__init__()
        shape = example_shape if len(example_shape) == 1 else (example_shape[0], 1, 1)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    @torch.no_grad()
    def fit(self, chunks: Iterable[Tensor]) -> None:
        """Learn mean and spread from values [n, F] or [n, C, H, W], a chunk at a time, of the training split alone.

        In double precision, each chunk about its own mean (Chan et al. 1979, eq. 2.1): the difference of two large sums
        of squares would lose what varies little.
        """
        count, mean, squares = 0, torch.zeros(self.mean.numel()).double(), torch.zeros(self.mean.numel()).double()
        for chunk in chunks:
            numbers = chunk.double().movedim(1, 0).flatten(1)  # [F, n] or [C, n * H * W]
            added = numbers.shape[1]
            difference = numbers.mean(1) - mean
            squares += (numbers - numbers.mean(1, keepdim=True)).square().sum(1)
            squares += difference.square() * count * added / (count + added)
            mean += difference * added / (count + added)
            count += added
        spread = (squares / count).sqrt()
        constant = spread <= NEGLIGIBLE_SPREAD * mean.abs()
        self.mean.copy_(mean.view_as(self.mean))
        self.std.copy_(spread.masked_fill(constant, 1.0).view_as(self.std))

    def forward(self, values: Tensor) -> Tensor:
        """Raw numbers of any dtype -> float, standardised; the shape stays."""
        return (values.to(self.mean.dtype) - self.mean) / self.std

    def undo(self, standardized: Tensor) -> Tensor:
        """Standardised -> raw units; the shape stays."""
        return standardized.to(self.mean.dtype) * self.std + self.mean
