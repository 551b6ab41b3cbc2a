"""The loss of skip-gram, against equation 4 written out."""

import torch
from torch import Tensor, nn

from app.contract.specs.architectures import SkipgramArchitecture
from worker.models.skip_gram import SkipGram, Word2Vec


def made() -> Word2Vec:
    torch.manual_seed(0)
    model = Word2Vec(SkipGram(SkipgramArchitecture(width=5), vocab_size=12))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0)
    return model


CENTERS = torch.tensor([3, 7])
CONTEXTS = torch.tensor([[1, 2, 4, 5], [6, 8, 3, 3]])
PRESENT = torch.tensor([[True, False, True, True], [False, True, False, False]])
NEGATIVES = torch.tensor([[9, 1], [2, 9]])


def by_hand(model: Word2Vec) -> Tensor:
    total = torch.zeros(())
    for row, center in enumerate(CENTERS):
        vector = model.body.embeddings.weight[center]
        for context in CONTEXTS[row][PRESENT[row]]:
            total -= torch.sigmoid(model.contexts.weight[context] @ vector).log()
            for negative in NEGATIVES[row]:
                total -= torch.sigmoid(-model.contexts.weight[negative] @ vector).log()
    return total


def test_the_loss_is_equation_4_summed_over_pairs() -> None:
    model = made()
    torch.testing.assert_close(model.loss(CENTERS, CONTEXTS, NEGATIVES, PRESENT), by_hand(model))


def test_only_words_that_were_drawn_have_gradients() -> None:
    model = made()
    model.loss(CENTERS, CONTEXTS, NEGATIVES, PRESENT).backward()  # type: ignore[no-untyped-call]
    assert _moved(model.body.embeddings) == {3, 7}
    assert _moved(model.contexts) == {1, 4, 5, 8, 9, 2}


def _moved(embedding: nn.Embedding) -> set[int]:
    gradient = embedding.weight.grad
    assert gradient is not None
    return set(gradient.any(1).nonzero().flatten().tolist())
