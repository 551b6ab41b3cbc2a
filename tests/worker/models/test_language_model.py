"""What every body of a causal language model keeps: the past alone counts, and a cache changes no number."""

from typing import Any

import pytest
import torch

from app.contract.specs.architectures import (
    LanguageArchitecture,
    LstmArchitecture,
    RnnArchitecture,
    TransformerArchitecture,
)
from worker.models.language_model import CausalBody, CausalLanguageModel
from worker.models.recurrent import Recurrent
from worker.models.transformer import Transformer

VOCAB_SIZE = 50

ARCHITECTURES: dict[str, LanguageArchitecture] = {
    "all_heads": TransformerArchitecture(num_layers=2, width=32, num_heads=4, context_length=64),
    "grouped_heads": TransformerArchitecture(
        num_layers=2, width=32, num_heads=4, num_key_value_heads=2, context_length=64
    ),
    "lstm": LstmArchitecture(num_layers=2, width=32),
    "rnn": RnnArchitecture(num_layers=2, width=32, embedding_width=12, tie_embeddings=False),
}


def body_of(shape: LanguageArchitecture) -> CausalBody[Any]:
    if isinstance(shape, TransformerArchitecture):
        return Transformer(shape, VOCAB_SIZE)
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


@torch.no_grad()
def test_padding_behind_a_row_leaves_no_trace_in_its_cache(model: CausalLanguageModel, tokens: torch.Tensor) -> None:
    whole, lengths = model(tokens), [5, 12, 2]
    cache = model.body.new_cache(len(tokens))

    hidden = model.body.step(tokens[:, :12], cache, lengths)
    logits = model.step(torch.stack([tokens[row, place] for row, place in enumerate(lengths)])[:, None], cache)

    for row, length in enumerate(lengths):
        torch.testing.assert_close(model.lm_head(hidden[row, :length]), whole[row, :length], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[row], whole[row, length], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [TransformerArchitecture(width=32), LstmArchitecture(width=32), RnnArchitecture(width=32)], ids=type
)
def test_tied_embeddings_are_one_parameter(shape: LanguageArchitecture) -> None:
    def count(tied: bool) -> int:
        module = CausalLanguageModel(body_of(shape.model_copy(update={"tie_embeddings": tied})))
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(tied=False) - count(tied=True) == VOCAB_SIZE * 32
