"""Recurrent bodies against their equations, a token at a time."""

import torch
from torch import Tensor, nn

from app.contract.specs.architectures import LstmArchitecture, RnnArchitecture
from worker.models.recurrent import Recurrent

VOCAB_SIZE, WIDTH = 20, 6
TOKENS = torch.randint(0, VOCAB_SIZE, (2, 9), generator=torch.Generator().manual_seed(1))


def weights(layer: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    """W, U and b; torch keeps the bias in two parts."""
    w, u, b, more = (layer.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    return w, u, b + more


@torch.no_grad()
def test_an_rnn_is_elmans_with_a_tangent() -> None:
    body = Recurrent(RnnArchitecture(num_layers=2, width=WIDTH), VOCAB_SIZE)
    expected = body.embed_tokens(TOKENS)
    for layer in body.layers:
        w, u, b = weights(layer)
        hidden, told = torch.zeros(2, WIDTH), []
        for x in expected.unbind(1):
            hidden = torch.tanh(x @ w.T + hidden @ u.T + b)
            told.append(hidden)
        expected = torch.stack(told, dim=1)

    torch.testing.assert_close(body(TOKENS), expected)


@torch.no_grad()
def test_an_lstm_is_that_of_its_papers() -> None:
    body = Recurrent(LstmArchitecture(num_layers=2, width=WIDTH), VOCAB_SIZE)
    expected = body.embed_tokens(TOKENS)
    for layer in body.layers:
        w, u, b = weights(layer)
        hidden, cell, told = torch.zeros(2, WIDTH), torch.zeros(2, WIDTH), []
        for x in expected.unbind(1):
            entry, forget, candidate, output = (x @ w.T + hidden @ u.T + b).chunk(4, dim=1)
            cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
            hidden = output.sigmoid() * cell.tanh()
            told.append(hidden)
        expected = torch.stack(told, dim=1)

    torch.testing.assert_close(body(TOKENS), expected)


def test_forget_gates_start_open() -> None:
    body = Recurrent(LstmArchitecture(num_layers=1, width=64), VOCAB_SIZE)
    _, forget, _, output = weights(body.layers[0])[2].chunk(4)

    assert forget.sigmoid().mean() > 0.7 > output.sigmoid().mean()


def test_a_fresh_rnn_neither_forgets_at_once_nor_explodes() -> None:
    body = Recurrent(RnnArchitecture(num_layers=1, width=256), VOCAB_SIZE)
    _, recurrent, _ = weights(body.layers[0])

    assert 0.9 < torch.linalg.eigvals(recurrent).abs().max() < 1.1


def test_dropout_falls_in_training_alone() -> None:
    body = Recurrent(LstmArchitecture(width=32, dropout=0.5), VOCAB_SIZE)

    assert not torch.equal(body(TOKENS), body(TOKENS))
    body.eval()
    assert torch.equal(body(TOKENS), body(TOKENS))
