"""What is hidden from a masked language model, counted."""

import numpy as np
import pytest
import torch

from worker.data.masking import Masking, masked_for_evaluation, masked_windows
from worker.data.windows import Windows, WindowSource

BEGIN, MASK, VOCABULARY = 0, 999, 1_000


@pytest.fixture
def windows() -> Windows:
    tokens = np.random.default_rng(0).integers(10, 900, 40_000).astype(np.uint16)
    tokens[::50] = BEGIN  # where texts begin
    return Windows(tokens, BEGIN, length=100)


@pytest.fixture
def source(windows: Windows) -> WindowSource:
    return WindowSource(windows, batch_size=200, num_micro_batches=2, seed=3)


def test_of_each_window_15_percent_are_to_be_told_and_of_those_80_10_10(source: WindowSource) -> None:
    plain = source.micro_batches(0)[0]["tokens"]
    batch = Masking(MASK, BEGIN, VOCABULARY).hidden(plain, np.random.default_rng(1))

    read = batch["tokens"].gather(1, batch["places"])
    assert batch["places"].shape == (100, 15)
    assert torch.equal(batch["targets"], plain.gather(1, batch["places"]))
    assert (read == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (read == batch["targets"]).float().mean() == pytest.approx(0.1, abs=0.03)
    other = read[(read != MASK) & (read != batch["targets"])]
    assert other.float().mean() == pytest.approx(VOCABULARY / 2, rel=0.2)


def test_all_else_is_read_as_it_is_and_what_opens_a_text_is_never_hidden(source: WindowSource) -> None:
    plain = source.micro_batches(0)[0]["tokens"]
    batch = Masking(MASK, BEGIN, VOCABULARY).hidden(plain, np.random.default_rng(1))

    assert torch.equal(batch["tokens"].scatter(1, batch["places"], batch["targets"]), plain)
    assert (plain == BEGIN).sum() > 100
    assert not (batch["targets"] == BEGIN).any()
    assert (batch["places"].diff(dim=1) > 0).all()


def test_a_window_is_masked_otherwise_whenever_it_comes(source: WindowSource) -> None:
    masked = masked_windows(source, Masking(MASK, BEGIN, VOCABULARY), seed=3)
    first, second = (masked.micro_batches(step)[0]["places"] for step in (0, 1))
    assert not torch.equal(first, second)


def test_every_evaluation_hides_the_same(windows: Windows) -> None:
    masking = Masking(MASK, BEGIN, VOCABULARY)
    first, second = (list(masked_for_evaluation(windows, masking, 5_000, 16)) for _ in range(2))
    assert sum(batch["tokens"].numel() for batch in first) == 5_000
    for mine, theirs in zip(first, second, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_text_of_one_token_can_still_be_masked() -> None:
    batch = Masking(MASK, BEGIN, VOCABULARY).hidden(torch.full((2, 1), BEGIN), np.random.default_rng(0))
    assert batch["targets"].tolist() == [[BEGIN], [BEGIN]]
