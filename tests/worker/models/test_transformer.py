"""Parts of the Transformer against slower or foreign ways to the same numbers."""

import pytest
import torch

from worker.models import cross_entropy
from worker.models.transformer import Rotary, rotated

VOCAB_SIZE = 50


@torch.no_grad()
def test_rotary_positions_depend_on_distance_alone() -> None:
    """Two equal tokens attend to each other with a weight that does not depend on where they stand."""
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    rotary = Rotary(head_width=8, context_length=64, base=10_000.0)

    def product(first: int, second: int) -> torch.Tensor:
        at = [rotary.at(torch.tensor([[place]])) for place in (first, second)]
        return (rotated(q, at[0]) * rotated(k, at[1])).sum()

    torch.testing.assert_close(product(3, 1), product(40, 38))
    assert not torch.allclose(product(3, 1), product(3, 2))


def test_the_chunked_loss_and_its_gradients_are_those_of_plain_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_NUMBERS", 64 * VOCAB_SIZE)
    hidden = torch.randn(200, 16, requires_grad=True)
    weight = torch.randn(VOCAB_SIZE, 16, requires_grad=True)
    targets = torch.randint(0, VOCAB_SIZE, (200,))

    total = cross_entropy.summed_cross_entropy(hidden, weight, targets)
    gradients = torch.autograd.grad(3 * total, (hidden, weight))
    plain = torch.nn.functional.cross_entropy(hidden @ weight.t(), targets, reduction="sum")

    torch.testing.assert_close(total, plain)
    for mine, theirs in zip(gradients, torch.autograd.grad(3 * plain, (hidden, weight)), strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(cross_entropy.token_losses(hidden, weight, targets).sum(), plain)
