"""Convolutional bodies and decoders over images of any size.

Legend: B batch, C channels, H height, W width, D size of the code; h, w: the last feature map's size.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from worker.models.body import Body
from worker.models.mlp import he_initialized, stages_of
from worker.models.standardization import Standardization


class ConvBody(Body):
    """Strided 3x3 convolutions with ReLU instead of pooling (Springenberg et al. 2015), then a linear code.

    images [B, C, H, W] -> standardised -> each convolution halves H and W, rounding up -> flattened -> [B, D]
    """

    def __init__(self, input_shape: tuple[int, ...], channels: Sequence[int], dropout: float, code_size: int) -> None:
        super().__init__()
        self.width = code_size
        self.standardization = Standardization(input_shape)
        self.layers = nn.Sequential()
        for before, after in pairwise([input_shape[0], *channels]):
            convolution = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1)
            self.layers += nn.Sequential(he_initialized(convolution), nn.ReLU(), nn.Dropout(dropout))
        last_height, last_width = feature_map_sizes(input_shape, len(channels))[-1]
        self.code = nn.Linear(channels[-1] * last_height * last_width, code_size)

    def stages(self) -> Sequence[nn.ModuleList]:
        return stages_of(self.layers, self.code)

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """batch["inputs"]: pixels 0..255 [B, C, H, W] -> code [B, D]"""
        code: Tensor = self.code(self.features(batch["inputs"]))
        return code

    def features(self, inputs: Tensor) -> Tensor:
        """pixels [B, C, H, W] -> the last feature maps in a row, which the code is read off from"""
        maps: Tensor = self.layers(self.standardization(inputs))
        return maps.flatten(1)


class ConvDecoder(nn.Module):
    """The mirror of a ConvBody: code [B, D] -> the standardised image [B, C, H, W]."""

    def __init__(self, output_shape: tuple[int, ...], channels: Sequence[int], dropout: float, code_size: int) -> None:
        super().__init__()
        sizes = feature_map_sizes(output_shape, len(channels))
        self._first_map = (channels[-1], *sizes[-1])
        height, width = sizes[-1]
        self.expansion = nn.Sequential(
            he_initialized(nn.Linear(code_size, channels[-1] * height * width)), nn.ReLU(), nn.Dropout(dropout)
        )
        self.layers = nn.Sequential()
        outputs = [*reversed(channels[:-1]), output_shape[0]]
        for before, after, size in zip(reversed(channels), outputs, reversed(sizes[:-1]), strict=True):
            if len(self.layers):
                self.layers += nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
            self.layers.append(_doubling(before, after, size))

    def forward(self, code: Tensor) -> Tensor:
        images: Tensor = self.layers(self.expansion(code).view(-1, *self._first_map))
        return images


def feature_map_sizes(image_shape: tuple[int, ...], num_layers: int) -> list[tuple[int, int]]:
    """(height, width) of the image and after each layer: halved, rounding up."""
    _, height, width = image_shape
    sizes = [(height, width)]
    for _ in range(num_layers):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def _doubling(before: int, after: int, size: tuple[int, int]) -> nn.ConvTranspose2d:
    """The transposed convolution onto exactly `size`: doubling gives odd sizes, one more row or column makes even."""
    even = (1 - size[0] % 2, 1 - size[1] % 2)
    return nn.ConvTranspose2d(before, after, kernel_size=3, stride=2, padding=1, output_padding=even)
