"""The Transformer against slower or foreign ways to the same numbers."""

import pytest
import torch

from app.contract.specs.architectures import TransformerArchitecture
from worker.models import cross_entropy
from worker.models.transformer import CausalLanguageModel, Transformer, rotated

VOCAB_SIZE = 50


@pytest.fixture(params=[None, 2], ids=["all_heads", "grouped_heads"])
def model(request: pytest.FixtureRequest) -> CausalLanguageModel:
    torch.manual_seed(0)
    shape = TransformerArchitecture(
        num_layers=2, width=32, num_heads=4, num_key_value_heads=request.param, context_length=64
    )
    return CausalLanguageModel(Transformer(shape, VOCAB_SIZE)).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, VOCAB_SIZE, (3, 20), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_no_token_looks_ahead(model: CausalLanguageModel, tokens: torch.Tensor) -> None:
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % VOCAB_SIZE

    before, after = model(tokens), model(changed)

    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@torch.no_grad()
def test_rotary_positions_depend_on_distance_alone(model: CausalLanguageModel) -> None:
    """Two equal tokens attend to each other with a weight that does not depend on where they stand."""
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    rotary = model.body.rotary

    def product(first: int, second: int) -> torch.Tensor:
        at = [rotary.at(torch.tensor([[place]])) for place in (first, second)]
        return (rotated(q, at[0]) * rotated(k, at[1])).sum()

    torch.testing.assert_close(product(3, 1), product(40, 38))
    assert not torch.allclose(product(3, 1), product(3, 2))


@torch.no_grad()
def test_decoding_token_by_token_gives_the_logits_of_the_whole(
    model: CausalLanguageModel, tokens: torch.Tensor
) -> None:
    cache = model.body.new_cache(len(tokens))
    pieces = [model.decode(tokens[:, :7], cache)]
    pieces += [model.decode(tokens[:, place : place + 1], cache) for place in range(7, tokens.shape[1])]

    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_rows_of_any_length_join_and_leave_without_touching_one_another(
    model: CausalLanguageModel, tokens: torch.Tensor
) -> None:
    whole, read = model(tokens), [5, 9, 2]
    cache = model.body.new_cache(0)
    for row, length in enumerate(read):
        prompt = model.body.new_cache(1)
        model.step(tokens[row : row + 1, :length], prompt)
        cache.append(prompt)

    for _ in range(8):
        logits = model.step(torch.stack([tokens[row, place] for row, place in enumerate(read)])[:, None], cache)
        torch.testing.assert_close(
            logits, torch.stack([whole[row, place] for row, place in enumerate(read)]), rtol=1e-4, atol=1e-5
        )
        read = [place + 1 for place in read]

    cache.keep([2, 0])
    logits = model.step(torch.stack([tokens[2, read[2]], tokens[0, read[0]]])[:, None], cache)
    torch.testing.assert_close(logits, torch.stack([whole[2, read[2]], whole[0, read[0]]]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_emptied_cache_takes_new_rows(model: CausalLanguageModel, tokens: torch.Tensor) -> None:
    cache = model.body.new_cache(1)
    model.step(tokens[:1], cache)
    cache.keep([])
    prompt = model.body.new_cache(1)
    model.step(tokens[1:2, :4], prompt)
    cache.append(prompt)

    torch.testing.assert_close(model.step(tokens[1:2, 4:5], cache)[0], model(tokens)[1, 4], rtol=1e-4, atol=1e-5)


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


def test_tied_embeddings_are_one_parameter() -> None:
    shape = TransformerArchitecture(num_layers=1, width=32, num_heads=4, context_length=8)
    tied = CausalLanguageModel(Transformer(shape, VOCAB_SIZE))
    untied = CausalLanguageModel(Transformer(shape.model_copy(update={"tie_embeddings": False}), VOCAB_SIZE))

    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(untied) - count(tied) == VOCAB_SIZE * 32
