"""The game: its losses against their formulas, who learns from which, and what it leaves to look at."""

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from app.contract.messages import ArtifactLine
from tests.contract import gan
from tests.contract.runs import prepared
from worker.methods.pictures import picture_grid
from worker.methods.pretrain.gan import GanMethod, GeneratorLoss, discriminator_losses, generator_losses
from worker.training.protocols import OptimizerStep

FORMS: tuple[GeneratorLoss, ...] = ("non_saturating", "minimax")


class Descent:
    """Plain gradient descent in an optimizer's place. A rate of 0 leaves the parameters as they are."""

    def __init__(self, parameters: list[nn.Parameter], rate: float) -> None:
        self._parameters = parameters
        self._rate = rate

    @torch.no_grad()
    def apply(self, gradient_divisor: Tensor | float = 1.0) -> Tensor:
        for parameter in self._parameters:
            assert parameter.grad is not None
            parameter.sub_(self._rate * parameter.grad / gradient_divisor)
            parameter.grad = None
        return torch.zeros(())


def method_of(tmp_path: Path, form: GeneratorLoss = "non_saturating") -> GanMethod:
    assignment = gan.of_vectors(tmp_path)
    options = assignment.spec.method.model_copy(update={"generator_loss": form})
    method = prepared(assignment.model_copy(update={"spec": assignment.spec.model_copy(update={"method": options})}))
    assert isinstance(method, GanMethod)
    return method


def step(method: GanMethod, d_rate: float, g_rate: float) -> Mapping[str, Tensor]:
    rates = {"discriminator": d_rate, "generator": g_rate}
    groups = method.parameter_groups()
    optimizers: dict[str, OptimizerStep] = {name: Descent(list(groups[name]), rate) for name, rate in rates.items()}
    torch.manual_seed(0)
    return method.train_step(method.train_data.micro_batches(0), optimizers)


def test_losses_are_those_of_the_probabilities() -> None:
    real, made = torch.tensor([0.3, -2.0]), torch.tensor([-1.2, 0.7])
    d_real, d_made = real.sigmoid(), made.sigmoid()

    torch.testing.assert_close(discriminator_losses(real, made), -d_real.log() - (1 - d_made).log())
    torch.testing.assert_close(generator_losses(made, "non_saturating"), -d_made.log())
    torch.testing.assert_close(generator_losses(made, "minimax"), (1 - d_made).log())


def test_a_poor_generator_learns_from_the_non_saturating_form_alone() -> None:
    """Goodfellow et al. 2014, section 3: where D(G(z)) is near 0, log(1 - D(G(z))) is flat."""
    gradients = {}
    for form in FORMS:
        made = torch.tensor([-10.0], requires_grad=True)
        (gradients[form],) = torch.autograd.grad(generator_losses(made, form).sum(), made)

    assert float(gradients["non_saturating"]) == pytest.approx(-1.0, abs=1e-3)
    assert -1e-3 < float(gradients["minimax"]) < 0


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_the_generator_deceives_the_discriminator_more(form: GeneratorLoss, tmp_path: Path) -> None:
    method = method_of(tmp_path, form)
    noise = torch.randn(200, gan.NOISE_SIZE)

    def believed() -> float:
        with torch.no_grad():
            return float(method.model({"inputs": method.model.generate(noise)}).sigmoid().mean())

    before = believed()
    for _ in range(10):
        step(method, d_rate=0.0, g_rate=0.05)

    assert believed() > before + 0.01


def test_a_step_of_the_discriminator_tells_real_from_made_better(tmp_path: Path) -> None:
    method = method_of(tmp_path)

    losses = [float(step(method, d_rate=0.05, g_rate=0.0)["d_loss"]) for _ in range(10)]

    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize(("still", "moving"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_each_network_is_taught_by_its_own_loss_alone(still: str, moving: str, tmp_path: Path) -> None:
    method = method_of(tmp_path)
    groups = method.parameter_groups()
    before = {name: [each.clone() for each in group] for name, group in groups.items()}

    step(method, d_rate=0.1 * (moving == "discriminator"), g_rate=0.1 * (moving == "generator"))

    assert all(torch.equal(*pair) for pair in zip(before[still], groups[still], strict=True))
    assert not any(torch.equal(*pair) for pair in zip(before[moving], groups[moving], strict=True))
    assert {id(each) for group in groups.values() for each in group} == set(map(id, method.module.parameters()))


def test_noise_is_a_function_of_the_seed_of_the_step(tmp_path: Path) -> None:
    method = method_of(tmp_path)
    first, second = step(method, 0.0, 0.0), step(method, 0.0, 0.0)

    assert first == second
    assert first["train_loss"] == first["d_loss"] + first["g_loss"]


def test_evaluations_draw_the_same_samples_and_leave_the_random_state_alone(tmp_path: Path) -> None:
    method = method_of(tmp_path)
    state = torch.get_rng_state()

    assert method.evaluate() == method.evaluate()
    assert torch.equal(torch.get_rng_state(), state)
    assert method.module.training


def test_a_gan_of_images_shows_a_grid_of_samples(tmp_path: Path) -> None:
    (shown,) = prepared(gan.of_images(tmp_path)).artifacts(tmp_path)

    assert (shown.name, shown.media_type) == ("samples.png", "image/png")
    with Image.open(shown.path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8 * 6 + 7, 8 * 7 + 7))


def test_a_gan_of_vectors_has_no_picture(tmp_path: Path) -> None:
    assert not prepared(gan.of_vectors(tmp_path)).artifacts(tmp_path)


def test_pictures_stand_row_by_row_in_their_grid(tmp_path: Path) -> None:
    images = torch.tensor([10.0, 20.4, 300.0]).view(3, 1, 1, 1).expand(3, 3, 2, 2)

    grid = _opened(picture_grid(images, 2, tmp_path, "grid.png"))

    assert grid.size == (5, 5)
    assert [grid.getpixel(place) for place in [(0, 0), (4, 1), (1, 4), (2, 0), (4, 4)]] == [
        (10, 10, 10),
        (20, 20, 20),
        (255, 255, 255),
        (128, 128, 128),
        (128, 128, 128),
    ]


def test_pictures_of_two_channels_are_shown_channel_by_channel(tmp_path: Path) -> None:
    images = torch.arange(4.0).view(2, 2, 1, 1)

    grid = _opened(picture_grid(images, 1, tmp_path, "grid.png"))

    assert (grid.mode, grid.size) == ("L", (3, 3))
    assert [grid.getpixel(place) for place in [(0, 0), (2, 0), (0, 2), (2, 2)]] == [0, 1, 2, 3]


def _opened(line: ArtifactLine) -> Image.Image:
    return Image.open(io.BytesIO(line.path.read_bytes()))
