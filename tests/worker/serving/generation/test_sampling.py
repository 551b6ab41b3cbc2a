import math

import pytest
import torch

from worker.serving.generation.sampling import Sampler

LOGITS = torch.tensor([0.0, 2.0, 1.0, -1.0, 1.5])


def sampler(
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int | None = 0
) -> Sampler:
    return Sampler.seeded(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)


def drawn(chooser: Sampler, times: int = 2_000) -> list[int]:
    return [chooser.choose(LOGITS) for _ in range(times)]


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
