"""Brings raw numbers to zero mean and unit variance inside the module, so that a model folder takes raw user input.

Legend: B batch, F features, C channels, H height, W width, K targets. Knows no data set: `fit` is given arrays.
"""

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
    def fit(self, values: Tensor) -> None:
        """Learn mean and spread from values [N, F] or [N, C, H, W], of the training split alone.

        Channel by channel in double precision: sums over many pixels lose digits in single, and one channel at a
        time keeps the copies small.
        """
        for index in range(len(self.mean)):
            column = values[:, index].double()
            mean, spread = column.mean(), column.std(correction=0)
            constant = spread <= NEGLIGIBLE_SPREAD * mean.abs()
            self.mean[index] = mean
            self.std[index] = 1.0 if constant else spread

    def forward(self, values: Tensor) -> Tensor:
        """Raw numbers of any dtype -> float, standardised; the shape stays."""
        return (values.to(self.mean.dtype) - self.mean) / self.std

    def undo(self, standardized: Tensor) -> Tensor:
        """Standardised -> raw units; the shape stays."""
        return standardized.to(self.mean.dtype) * self.std + self.mean
