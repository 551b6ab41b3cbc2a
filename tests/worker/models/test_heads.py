"""Heads: pooling ignores padding, and regressors answer in the targets' units."""

import torch

from worker.models.heads import Classifier, Regressor, pool
from worker.models.mlp import MlpBody


def test_pooling_is_the_mean_of_each_text_s_own_tokens() -> None:
    encoded = torch.randn(3, 5, 4)
    lengths = torch.tensor([5, 1, 3])

    pooled = pool(encoded, lengths)

    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(pooled[row], encoded[row, :length].mean(0))


def test_what_stands_in_the_padding_never_reaches_the_answer() -> None:
    encoded = torch.randn(2, 4, 3)
    encoded[0, 2:] = float("nan")

    assert pool(encoded, torch.tensor([2, 4])).isfinite().all()


def test_a_classifier_gives_a_logit_a_label() -> None:
    assert Classifier(MlpBody((4,), (8,)), num_labels=3)({"inputs": torch.randn(5, 4)}).shape == (5, 3)


def test_a_regressor_answers_in_the_units_of_its_targets() -> None:
    module = Regressor(MlpBody((4,), (8,)), target_size=2)
    targets = torch.randn(200, 2) * torch.tensor([10.0, 0.1]) + torch.tensor([1_000.0, -3.0])
    module.target_standardization.fit([targets])
    batch = {"inputs": torch.randn(7, 4)}

    expected = module.read(batch) * targets.std(0, correction=0) + targets.mean(0)

    torch.testing.assert_close(module(batch), expected)
