import math
from typing import Any

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from worker.serving.generation.sampling import Sampler, Sampling, choose, likelihoods

LOGITS = torch.tensor([0.0, 2.0, 1.0, -1.0, 1.5])


def sampler(
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int | None = 0
) -> Sampler:
    return Sampler(Sampling(temperature, top_k, top_p), seed)


def drawn(chooser: Sampler, times: int = 2_000) -> list[int]:
    """One after the other from the same generator."""
    return choose([chooser] * times, LOGITS.expand(times, -1))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert set(drawn(sampler(temperature=0.0), 20)) == {1}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature: float) -> None:
    tokens = drawn(sampler(temperature=temperature), 8_000)
    weights = [math.exp(logit / temperature) for logit in LOGITS.tolist()]
    for token, weight in enumerate(weights):
        expected = weight / sum(weights)
        tolerance = 4 * math.sqrt(expected * (1 - expected) / len(tokens))  # four standard errors
        assert tokens.count(token) / len(tokens) == pytest.approx(expected, abs=tolerance)


def test_top_k_leaves_the_k_likeliest() -> None:
    assert set(drawn(sampler(top_k=2))) == {1, 4}


def test_top_k_beyond_the_vocabulary_leaves_all() -> None:
    assert drawn(sampler(top_k=99)) == drawn(sampler())


def test_top_p_leaves_the_fewest_that_reach_p() -> None:
    probabilities = LOGITS.softmax(-1)
    p = float(probabilities[1] + probabilities[4]) + 0.01  # the two likeliest fall just short
    assert set(drawn(sampler(top_p=p))) == {1, 4, 2}


def test_a_tiny_top_p_still_leaves_one() -> None:
    assert set(drawn(sampler(top_p=1e-9), 20)) == {1}


def test_top_k_and_top_p_together() -> None:
    assert set(drawn(sampler(top_k=3, top_p=0.4))) == {1}


def test_equal_seeds_draw_equally_and_no_seed_draws_anew() -> None:
    assert drawn(sampler(seed=7), 50) == drawn(sampler(seed=7), 50)
    assert drawn(sampler(seed=None), 50) != drawn(sampler(seed=None), 50)


def test_what_is_as_likely_as_the_last_that_is_left_is_left_too() -> None:
    logits = torch.tensor([[3.0, 1.0, 3.0, 1.0, 0.0]])

    def left(**cut: Any) -> set[int]:
        chooser = Sampler(Sampling(**cut), seed=0)
        return set(choose([chooser] * 300, logits.expand(300, -1)))

    assert left(top_k=3) == {0, 1, 2, 3}
    assert left(top_p=0.1) == {0, 2}


@pytest.mark.parametrize("temperature", [1e-300, 1e-6])
def test_no_temperature_is_too_small(temperature: float) -> None:
    assert set(drawn(sampler(temperature=temperature), 20)) == {1}


def test_batch_mates_change_nothing() -> None:
    """Every mixture of settings: what each row draws is what it draws alone."""
    settings = [
        Sampling(temperature, top_k, top_p, penalty)
        for temperature in (0.0, 0.7, 3.0)
        for top_k in (None, 1, 7, 99)
        for top_p in (None, 0.5, 1.0)
        for penalty in (1.0, 1.3)
    ]
    logits = torch.randn(8, len(settings), 60, generator=torch.Generator().manual_seed(0)) * 3
    together = [Sampler(setting, seed, prompt=[seed % 60]) for seed, setting in enumerate(settings)]
    batched = [choose(together, step) for step in logits]
    for row, setting in enumerate(settings):
        alone = Sampler(setting, row, prompt=[row % 60])
        assert [choose([alone], step[row : row + 1])[0] for step in logits] == [step[row] for step in batched]


def test_the_repetition_penalty_is_that_of_transformers() -> None:
    prompt, penalty = [3, 5, 5, 8], 1.7
    logits = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)) * 2
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    chooser = Sampler(Sampling(temperature=0.0, repetition_penalty=penalty), seed=None, prompt=prompt)
    read = [*prompt]
    for step in logits[:, None]:
        expected = int(processor(torch.tensor([read]), step).argmax())
        assert choose([chooser], step) == [expected]
        read.append(expected)
    assert len(set(read)) > 6


def test_likelihoods_are_those_of_the_softmax() -> None:
    logits = torch.stack([LOGITS, LOGITS * 2, LOGITS.flip(0)])
    logs = logits.double().log_softmax(-1)
    first, second, third = likelihoods(logits, [0, 4, 2], [2, None, 0])
    assert first is not None
    assert third is not None
    assert first.log_probability == pytest.approx(float(logs[0, 0]))
    assert [token for token, _ in first.likeliest] == [1, 4]
    assert [value for _, value in first.likeliest] == pytest.approx(logs[0, [1, 4]].tolist())
    assert second is None
    assert third.log_probability == pytest.approx(float(logs[2, 2]))
    assert not third.likeliest
