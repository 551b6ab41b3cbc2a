"""Many small images on one, for a person to look at."""

import math
from pathlib import Path

import numpy as np
from torch import Tensor

from app.contract.messages import ArtifactLine
from app.records.images import encode_png

#: Between two images, in pixels.
_GAP, _GREY = 1, 128


def picture_grid(images: Tensor, columns: int, folder: Path, name: str) -> ArtifactLine:
    """images: pixel values 0..255 [N, C, H, W], laid out row by row -> the PNG `name` in `folder`.

    Images of two or four channels, which no screen shows, become a grey one for each channel.
    """
    pixels = images.round().clamp(0, 255).byte().cpu().numpy()
    if pixels.shape[1] not in (1, 3):
        columns, pixels = columns * pixels.shape[1], pixels.reshape(-1, 1, *pixels.shape[2:])
    count, channels, height, width = pixels.shape
    rows = math.ceil(count / columns)
    grid = np.full((channels, rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), _GREY, np.uint8)
    for place, image in enumerate(pixels):
        top, left = place // columns * (height + _GAP), place % columns * (width + _GAP)
        grid[:, top : top + height, left : left + width] = image
    path = folder / name
    path.write_bytes(encode_png(grid))
    return ArtifactLine(name=name, path=path, media_type="image/png")
