"""Examples changed by chance: each change against its definition, and what it must leave alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from app.contract.specs.training import Augmentation
from worker.data.augmentation import Augmenter, closed_up, cropped, gaps_in, mixed, noisy, shifted

COUNT = 400


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def pictures() -> Tensor:
    """uint8 [COUNT, 2, 5, 4], each pixel another and none black."""
    return (torch.arange(2 * 5 * 4).view(1, 2, 5, 4) + 100).byte().expand(COUNT, -1, -1, -1)


def test_a_shifted_image_is_the_image_moved_with_black_behind_it() -> None:
    images = pictures()

    moved = shifted(images, 2, rng())

    moves = [_moved(images[0], down, right) for down in range(-2, 3) for right in range(-2, 3)]
    found = [next(place for place, move in enumerate(moves) if torch.equal(image, move)) for image in moved]
    assert moved.dtype == torch.uint8
    assert set(found) == set(range(25))


def _moved(image: Tensor, down: int, right: int) -> Tensor:
    """Pixel by pixel."""
    moved = torch.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


def test_a_crop_of_a_slope_is_a_part_of_it_in_whole_size() -> None:
    """On a linear slope a bilinear crop is linear too: its ends tell where it was cut."""
    height, width = 40, 30
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([rows, columns]).float().expand(COUNT, 2, height, width)

    crops = cropped(images, 0.5, rng())

    assert crops.shape == images.shape
    inside = crops[:, :, 2:-2, 2:-2]  # at an image's very edge a value is that of its border
    tall = (inside[:, 0, -1, 0] - inside[:, 0, 0, 0]) / (height - 5)
    wide = (inside[:, 1, 0, -1] - inside[:, 1, 0, 0]) / (width - 5)
    area, shape = tall * wide, wide / tall
    assert area.min() >= 0.49
    assert area.max() <= 1.01
    assert area.std() > 0.1
    assert shape.min() >= 0.74
    assert shape.max() <= 1.35
    assert crops[:, 0].min() >= 0
    assert crops[:, 0].max() <= height - 1
    assert inside[:, 0, 0, 0].std() > 1, "crops lie in different places"


def test_noise_has_the_deviations_that_it_is_given() -> None:
    deviations = torch.tensor([0.5, 20.0])

    added = noisy(torch.full((20_000, 2), 7.0), deviations, rng()) - 7.0

    torch.testing.assert_close(added.std(0), deviations, rtol=0.03, atol=0)
    torch.testing.assert_close(added.mean(0) / deviations, torch.zeros(2), rtol=0, atol=0.03)


def test_noisy_pixels_stay_pixels() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(1_000, -1, -1, -1)

    made = noisy(images, torch.full((1, 1, 1), 30.0), rng())

    assert made.min() == 0.0
    assert made.max() == 255.0
    assert made[..., 1].std() == pytest.approx(30.0, rel=0.1)


def test_mixed_examples_lie_between_two_with_answers_in_the_same_shares() -> None:
    inputs = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(0))
    targets = inputs @ torch.tensor([[1.0], [2.0], [-1.0]])  # what is linear stays true of a mixture

    made = mixed({"inputs": inputs, "targets": targets}, 1.0, rng())

    torch.testing.assert_close(made["targets"], made["inputs"] @ torch.tensor([[1.0], [2.0], [-1.0]]))
    assert made.keys() == {"inputs", "targets"}
    assert not torch.equal(made["inputs"], inputs)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixed_labels_are_told_with_their_shares(alpha: float) -> None:
    """Inputs that are their own labels show what was mixed, and how much of it."""
    labels = torch.arange(COUNT)

    made = mixed({"inputs": labels[:, None].to(torch.uint8), "labels": labels}, alpha, rng())

    mine, theirs = labels.to(torch.uint8), made["partner_labels"].to(torch.uint8)
    torch.testing.assert_close(made["inputs"][:, 0], made["share"] * mine + (1 - made["share"]) * theirs)
    assert torch.equal(made["labels"], labels)
    assert torch.equal(made["partner_labels"].sort().values, labels)
    variance = 1 / (4 * (2 * alpha + 1))  # of Beta(alpha, alpha)
    assert made["share"].var() == pytest.approx(variance, rel=0.25)


#: What opens and closes every text.
FRAME = (1, 2)


def texts() -> tuple[Tensor, Tensor]:
    """Tokens int64 [200, 50], each text of another order, and lengths."""
    lengths = torch.tensor([50, 30] * 100)
    tokens = torch.stack([torch.from_numpy(rng(text).permutation(50)) + 5 for text in range(200)])
    tokens[:, 0] = FRAME[0]
    tokens[torch.arange(200), lengths - 1] = FRAME[1]
    return tokens.masked_fill(torch.arange(50) >= lengths[:, None], 0), lengths


def test_gaps_are_neither_what_stands_around_a_text_nor_padding() -> None:
    tokens, lengths = texts()

    gaps = gaps_in(tokens, lengths, 0.3, FRAME, rng())

    assert not {0, *FRAME} & set(tokens[gaps].tolist())
    assert int(gaps.sum()) == pytest.approx(0.3 * int((lengths - 2).sum()), rel=0.1)


def test_a_text_closes_up_over_its_gaps() -> None:
    tokens, lengths = texts()
    gaps = gaps_in(tokens, lengths, 0.3, FRAME, rng())

    read, left = closed_up(tokens, lengths, gaps)

    assert read.shape[1] == left.max()
    for text, gap, length, made, count in zip(tokens, gaps, lengths, read, left, strict=True):
        assert made[:count].tolist() == text[:length][~gap[:length]].tolist()
        assert not made[count:].any()


AUGMENTERS: dict[str, tuple[Augmenter, Callable[[], dict[str, Tensor]]]] = {
    "images": (
        Augmenter(
            Augmentation(mixup_alpha=0.4, noise_std=0.1, shift_pixels=1, crop_area=0.6), torch.full((2, 1, 1), 9.0)
        ),
        lambda: {"inputs": pictures(), "labels": torch.arange(COUNT)},
    ),
    "texts": (
        Augmenter(Augmentation(token_dropout=0.5), frame=FRAME),
        lambda: dict(zip(("tokens", "lengths"), texts(), strict=True)),
    ),
    "words": (
        Augmenter(Augmentation(token_dropout=0.5), stand_in=3, frame=FRAME),
        lambda: dict(zip(("tokens", "lengths"), texts(), strict=True)) | {"places": torch.ones(200, 1)},
    ),
}


@pytest.mark.parametrize("kind", AUGMENTERS)
def test_equal_chance_gives_equal_batches_and_the_examples_stay_as_they_are(kind: str) -> None:
    augmenter, examples = AUGMENTERS[kind]
    batch = examples()

    first, again, other = (augmenter(batch, rng(seed)) for seed in (1, 1, 2))

    changed = "inputs" if kind == "images" else "tokens"
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[changed], other[changed])
    assert all(torch.equal(batch[name], value) for name, value in examples().items())
