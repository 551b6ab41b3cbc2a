"""Conditional random fields against the enumeration of all paths: slower, and obviously right."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from worker.models.chain import Chain, best_paths, marginals, negative_log_likelihoods, path_scores
from worker.models.tagger import bio_rules

NUM_TAGS, LENGTHS = 3, torch.tensor([4, 1, 3, 2])


@pytest.fixture
def chain() -> Chain:
    torch.manual_seed(0)
    return Chain(torch.randn(NUM_TAGS), torch.randn(NUM_TAGS, NUM_TAGS), torch.randn(NUM_TAGS))


@pytest.fixture
def emissions() -> Tensor:
    return torch.randn(len(LENGTHS), int(LENGTHS.max()), NUM_TAGS, generator=torch.Generator().manual_seed(1))


def enumerated(emissions: Tensor, chain: Chain) -> dict[tuple[int, ...], float]:
    """The score of every path of one sentence, emissions [W, L]."""
    return {
        path: float(
            chain.first[path[0]]
            + sum(emissions[word, tag] for word, tag in enumerate(path))
            + sum(chain.steps[before, after] for before, after in pairwise(path))
            + chain.last[path[-1]]
        )
        for path in product(range(NUM_TAGS), repeat=len(emissions))
    }


def each_sentence(emissions: Tensor, chain: Chain) -> list[dict[tuple[int, ...], float]]:
    return [enumerated(row[:length], chain) for row, length in zip(emissions, LENGTHS.tolist(), strict=True)]


def test_likelihoods_are_shares_of_all_paths(emissions: Tensor, chain: Chain) -> None:
    tags = torch.tensor([[0, 2, 1, 1], [2, 0, 0, 0], [1, 1, 2, 0], [0, 0, 0, 0]])

    told = negative_log_likelihoods(emissions, tags, LENGTHS, chain)

    for row, paths in enumerate(each_sentence(emissions, chain)):
        path = tuple(tags[row, : LENGTHS[row]].tolist())
        share = torch.tensor(paths[path]) - torch.logsumexp(torch.tensor([*paths.values()]), 0)
        assert told[row].item() == pytest.approx(-share.item(), abs=1e-5)
        assert path_scores(emissions, tags, LENGTHS, chain)[row].item() == pytest.approx(paths[path], abs=1e-5)


def test_the_best_path_is_the_best_of_all(emissions: Tensor, chain: Chain) -> None:
    told = best_paths(emissions, LENGTHS, chain)

    for row, paths in enumerate(each_sentence(emissions, chain)):
        assert tuple(told[row, : LENGTHS[row]].tolist()) == max(paths, key=paths.__getitem__)


def test_marginals_are_sums_over_paths(emissions: Tensor, chain: Chain) -> None:
    told = marginals(emissions, LENGTHS, chain)

    for row, paths in enumerate(each_sentence(emissions, chain)):
        shares = torch.tensor([*paths.values()]).softmax(0)
        expected = torch.zeros(int(LENGTHS[row]), NUM_TAGS)
        for path, share in zip(paths, shares, strict=True):
            expected[range(len(path)), path] += share
        torch.testing.assert_close(told[row, : LENGTHS[row]], expected)


def test_what_stands_behind_a_sentence_changes_nothing(emissions: Tensor, chain: Chain) -> None:
    other = emissions.clone()
    for row, length in enumerate(LENGTHS.tolist()):
        other[row, length:] = 1e4
    tags = torch.zeros(other.shape[:2], dtype=torch.int64)

    assert torch.equal(best_paths(other, LENGTHS, chain), best_paths(emissions, LENGTHS, chain))
    torch.testing.assert_close(
        negative_log_likelihoods(other, tags, LENGTHS, chain), negative_log_likelihoods(emissions, tags, LENGTHS, chain)
    )


def test_rules_leave_the_best_well_formed_path() -> None:
    tags = ["B-A", "I-A", "O"]
    emissions = torch.tensor([[[0.0, 9.0, 1.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]])

    told = best_paths(emissions, torch.tensor([3]), bio_rules(tags))

    assert [tags[tag] for tag in told[0].tolist()] == ["B-A", "I-A", "O"]
