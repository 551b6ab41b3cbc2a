"""What every body of a causal language model keeps: the past alone counts, and a cache changes no number."""

from typing import Any

import pytest
import torch

from app.contract.specs.architectures import (
    CausalArchitecture,
    Gpt2Architecture,
    LstmArchitecture,
    RnnArchitecture,
    TransformerArchitecture,
)
from worker.models.gpt2 import Gpt2
from worker.models.language_model import CausalBody, CausalLanguageModel
from worker.models.recurrent import Recurrent
from worker.models.transformer import Transformer

VOCAB_SIZE = 50

ARCHITECTURES: dict[str, CausalArchitecture] = {
    "all_heads": TransformerArchitecture(num_layers=2, width=32, num_heads=4, context_length=64),
    "grouped_heads": TransformerArchitecture(
        num_layers=2, width=32, num_heads=4, num_key_value_heads=2, context_length=64
    ),
    "gpt2": Gpt2Architecture(
        num_layers=2,
        width=32,
        num_heads=4,
        feed_forward_width=64,
        context_length=64,
        dropout=0.0,
        activation="gelu",
        norm_epsilon=1e-5,
        tie_embeddings=True,
    ),
    "lstm": LstmArchitecture(num_layers=2, width=32),
    "rnn": RnnArchitecture(num_layers=2, width=32, embedding_width=12, tie_embeddings=False),
}


def body_of(shape: CausalArchitecture) -> CausalBody[Any]:
    if isinstance(shape, TransformerArchitecture):
        return Transformer(shape, VOCAB_SIZE)
    if isinstance(shape, Gpt2Architecture):
        return Gpt2(shape, VOCAB_SIZE)
    return Recurrent(shape, VOCAB_SIZE)


@pytest.fixture(params=ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def model(request: pytest.FixtureRequest) -> CausalLanguageModel:
    torch.manual_seed(0)
    return CausalLanguageModel(body_of(request.param)).eval()


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


def started(model: CausalLanguageModel, num_rows: int, num_tokens: int = 20) -> Any:
    """A cache with rows that have read nothing."""
    cache = model.body.new_cache(torch.float32)
    cache.reserve(num_rows, num_tokens)
    cache.start(num_rows)
    return cache


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[7, *[1] * 13], [1, 8, 2, 9], [20]], ids=str)
def test_pieces_of_any_size_give_the_logits_of_the_whole(
    model: CausalLanguageModel, tokens: torch.Tensor, sizes: list[int]
) -> None:
    cache = started(model, len(tokens))
    pieces = [model.decode(piece, cache) for piece in torch.split(tokens, sizes, dim=1)]

    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_rows_of_any_length_join_and_leave_without_touching_one_another(
    model: CausalLanguageModel, tokens: torch.Tensor
) -> None:
    whole, read = model(tokens), [5, 9, 2]
    cache = model.body.new_cache(torch.float32)
    for row, length in enumerate(read):
        prompt = started(model, 1)
        model.step(tokens[row : row + 1, :length], prompt)
        cache.reserve(row + 1, 20)
        cache.join(prompt)

    for _ in range(8):
        logits = model.step(torch.stack([tokens[row, place] for row, place in enumerate(read)])[:, None], cache)
        torch.testing.assert_close(
            logits, torch.stack([whole[row, place] for row, place in enumerate(read)]), rtol=1e-4, atol=1e-5
        )
        read = [place + 1 for place in read]

    cache.leave(0)  # the last takes its place
    logits = model.step(torch.stack([tokens[2, read[2]], tokens[1, read[1]]])[:, None], cache)
    torch.testing.assert_close(logits, torch.stack([whole[2, read[2]], whole[1, read[1]]]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_is_read_outlasts_more_memory_and_less(model: CausalLanguageModel, tokens: torch.Tensor) -> None:
    whole, cache = model(tokens), started(model, 3)
    model.step(tokens[:, :9], cache)
    for num_rows, num_tokens in [(3, 500), (40, 500), (3, 20)]:
        cache.reserve(num_rows, num_tokens)
    torch.testing.assert_close(model.step(tokens[:, 9:10], cache), whole[:, 9], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_cache_takes_what_it_says(model: CausalLanguageModel) -> None:
    cache = model.body.new_cache(torch.float32)
    assert cache.size_bytes == cache.bytes_for(0, 0) == 0
    for num_rows in (1, 3, 5):
        cache = started(model, num_rows, 100)
        model.step(torch.zeros(num_rows, 2, dtype=torch.int64), cache)
        assert cache.size_bytes == cache.bytes_for(num_rows, 100) > 0
    cache.reserve(5, 10)
    assert cache.size_bytes <= cache.bytes_for(5, 100)


@torch.no_grad()
def test_an_emptied_cache_takes_new_rows(model: CausalLanguageModel, tokens: torch.Tensor) -> None:
    cache = started(model, 1)
    model.step(tokens[:1], cache)
    cache.leave(0)
    cache.reserve(0, 0)
    assert cache.size_bytes == 0
    prompt = started(model, 1)
    model.step(tokens[1:2, :4], prompt)
    cache.reserve(1, 5)
    cache.join(prompt)

    torch.testing.assert_close(model.step(tokens[1:2, 4:5], cache)[0], model(tokens)[1, 4], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [TransformerArchitecture(width=32), LstmArchitecture(width=32), RnnArchitecture(width=32)], ids=type
)
def test_tied_embeddings_are_one_parameter(shape: CausalArchitecture) -> None:
    def count(tied: bool) -> int:
        module = CausalLanguageModel(body_of(shape.model_copy(update={"tie_embeddings": tied})))
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(tied=False) - count(tied=True) == VOCAB_SIZE * 32
