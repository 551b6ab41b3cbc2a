"""Examples changed by chance, so that training never sees one twice alike. Knows no file, no order and no model.

Legend: B batch, F features, C channels, H height, W width, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor

from app.contract.specs.training import Augmentation

Batch = dict[str, Tensor]

#: Pixel values lie from 0 to it.
WHITE = 255.0
#: Of a crop, width by height: Szegedy et al. 2015, section 6.
NARROWEST, WIDEST = 3 / 4, 4 / 3


@dataclass(frozen=True, slots=True)
class Augmenter:
    """Makes a batch of a batch: of raw `inputs` [B, F] or [B, C, H, W], or of `tokens` int64 [B, T] and `lengths`.

    `deviations`: of the inputs, [F] or [C, 1, 1]. `stand_in`: the token that is read in the place of one dropped;
    `frame`: those that stand around every text, and are never dropped.
    """

    spec: Augmentation
    deviations: Tensor | None = None
    stand_in: int | None = None
    frame: tuple[int, ...] = ()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        spec = self.spec
        if spec.token_dropout:
            batch = batch | self._with_gaps(batch, spec.token_dropout, rng)
        if spec.crop_area:
            batch = batch | {"inputs": cropped(batch["inputs"], spec.crop_area, rng)}
        if spec.shift_pixels:
            batch = batch | {"inputs": shifted(batch["inputs"], spec.shift_pixels, rng)}
        if spec.noise_std:
            assert self.deviations is not None
            batch = batch | {"inputs": noisy(batch["inputs"], spec.noise_std * self.deviations, rng)}
        return mixed(batch, spec.mixup_alpha, rng) if spec.mixup_alpha else batch

    def _with_gaps(self, batch: Batch, probability: float, rng: np.random.Generator) -> Batch:
        """Tokens left out, so that a body reads none that it would not read in use (Iyyer et al. 2015, section 4).
        Where `places` are pointed at, each has to stay in its own: there they are hidden (Gal and Ghahramani 2016,
        section 4.2, who drop all of a type together)."""
        tokens, lengths = batch["tokens"], batch["lengths"]
        gaps = gaps_in(tokens, lengths, probability, self.frame, rng)
        if "places" not in batch:
            return dict(zip(("tokens", "lengths"), closed_up(tokens, lengths, gaps), strict=True))
        assert self.stand_in is not None
        return {"tokens": tokens.masked_fill(gaps, self.stand_in)}


def shifted(images: Tensor, max_pixels: int, rng: np.random.Generator) -> Tensor:
    """Each moved by up to `max_pixels` down or up and right or left, and black where nothing moved in: a crop of an
    image with a black frame (He et al. 2016, section 4.2). The dtype stays."""
    height, width = images.shape[2:]
    framed = F.pad(images, [max_pixels] * 4)
    starts = rng.integers(2 * max_pixels + 1, size=(len(images), 2)).tolist()
    crops = zip(framed, starts, strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, (top, left) in crops])


def cropped(images: Tensor, smallest_area: float, rng: np.random.Generator) -> Tensor:
    """A part of each image, from `smallest_area` of its area on, scaled to the whole size (Szegedy et al. 2015, section
    6): float, bilinear, within the values around."""
    count = len(images)
    area = rng.uniform(smallest_area, 1.0, count)
    narrowest, widest = np.maximum(NARROWEST, area), np.minimum(WIDEST, 1 / area)  # that no side outgrows the whole
    shape = np.exp(rng.uniform(np.log(narrowest), np.log(widest)))
    sides = np.sqrt([area * shape, area / shape])  # of the whole's: width, height
    middles = rng.uniform(-1.0, 1.0, (2, count)) * (1 - sides)
    transform = torch.zeros(count, 2, 3)
    for axis in range(2):
        transform[:, axis, axis] = torch.from_numpy(sides[axis])
        transform[:, axis, 2] = torch.from_numpy(middles[axis])
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def noisy(inputs: Tensor, deviations: Tensor, rng: np.random.Generator) -> Tensor:
    """Gaussian noise of these deviations added (Bishop 1995): float. A pixel stays within 0 and WHITE."""
    noise = torch.from_numpy(rng.standard_normal(inputs.shape, dtype=np.float32))
    moved = inputs.float() + deviations * noise
    return moved.clamp(0.0, WHITE) if moved.dim() == 4 else moved


def mixed(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Each example with another of the batch, in the shares s and 1 - s, s from Beta(alpha, alpha) (Zhang et al. 2018).

    -> `inputs`, and answers that are numbers, mixed. Labels cannot be: to each there is that of the `partner_labels`
    int64 [B], for a loss that counts them in the shares `share` float [B] and 1 - `share`.
    """
    count = len(batch["inputs"])
    partners = torch.from_numpy(rng.permutation(count))
    share = torch.from_numpy(rng.beta(alpha, alpha, count)).float()

    def mix(values: Tensor) -> Tensor:
        mine = share.view(-1, *[1] * (values.dim() - 1))
        return mine * values + (1 - mine) * values[partners]

    made = {name: mix(values.float()) for name, values in batch.items() if name != "labels"}
    if "labels" not in batch:
        return made
    return made | {"labels": batch["labels"], "partner_labels": batch["labels"][partners], "share": share}


def gaps_in(
    tokens: Tensor, lengths: Tensor, probability: float, frame: Sequence[int], rng: np.random.Generator
) -> Tensor:
    """Tokens of the texts themselves, by chance: bool [B, T]"""
    by_chance = torch.from_numpy(rng.random(tokens.shape) < probability)
    padding = torch.arange(tokens.shape[1]) >= lengths[:, None]
    return by_chance & ~padding & ~torch.isin(tokens, torch.tensor(frame))


def closed_up(tokens: Tensor, lengths: Tensor, gaps: Tensor) -> tuple[Tensor, Tensor]:
    """Texts without the tokens in gaps: `tokens` [B, T'], in order, and `lengths` [B]"""
    stays = ~gaps & (torch.arange(tokens.shape[1]) < lengths[:, None])
    left = stays.sum(1)
    order = stays.int().argsort(dim=1, descending=True, stable=True)[:, : int(left.max())]
    padding = torch.arange(order.shape[1]) >= left[:, None]
    return tokens.gather(1, order).masked_fill(padding, 0), left
