"""Windows of a long array of tokens."""

import numpy as np
import pytest

from worker.data.windows import Windows, WindowSource

BEGIN = 999


def _windows(num_tokens: int, length: int = 10) -> Windows:
    return Windows(np.arange(num_tokens, dtype=np.uint16), BEGIN, length)


def test_a_window_reads_the_begin_token_and_is_told_the_next_token_of_each() -> None:
    batch = _windows(100).batch([20, 30])

    assert batch["targets"].tolist() == [list(range(20, 30)), list(range(30, 40))]
    assert batch["tokens"].tolist() == [[BEGIN, *range(20, 29)], [BEGIN, *range(30, 39)]]


@pytest.mark.parametrize("num_tokens", [10, 11, 19, 20, 25, 29, 30, 101, 109])
def test_every_window_of_every_epoch_fits(num_tokens: int) -> None:
    source = WindowSource(_windows(num_tokens), batch_size=3, num_micro_batches=1, seed=0)

    for step in range(40):
        for batch in source.micro_batches(step):
            assert batch["targets"].shape[1] == 10
            assert batch["targets"].max() < num_tokens


def test_an_epoch_takes_every_window_once_and_the_next_one_cuts_elsewhere() -> None:
    source = WindowSource(_windows(1_009), batch_size=10, num_micro_batches=1, seed=3)
    steps_per_epoch = int(source.steps_per_epoch)
    assert source.steps_per_epoch == steps_per_epoch

    epochs = [
        sorted(
            start
            for step in range(epoch * steps_per_epoch, (epoch + 1) * steps_per_epoch)
            for start in source.micro_batches(step)[0]["targets"][:, 0].tolist()
        )
        for epoch in range(3)
    ]

    for starts in epochs:
        assert starts == list(range(starts[0], starts[0] + 10 * source.num_examples, 10))
    assert len({starts[0] for starts in epochs}) > 1


def test_micro_batches_are_the_batch_in_parts() -> None:
    whole = WindowSource(_windows(500), batch_size=8, num_micro_batches=1, seed=1).micro_batches(4)
    parts = WindowSource(_windows(500), batch_size=8, num_micro_batches=4, seed=1).micro_batches(4)

    assert [len(part["tokens"]) for part in parts] == [2, 2, 2, 2]
    assert [row for part in parts for row in part["tokens"].tolist()] == whole[0]["tokens"].tolist()


def test_a_text_smaller_than_a_batch_makes_steps_of_its_size() -> None:
    source = WindowSource(_windows(45), batch_size=32, num_micro_batches=8, seed=0)

    assert source.num_examples == 3
    assert source.tokens_per_step == 30
    assert sum(len(part["tokens"]) for part in source.micro_batches(0)) == 3


def test_a_validation_sample_is_spread_over_the_text() -> None:
    windows = _windows(1_000)

    chosen = [row[0] for batch in windows.evenly_spaced(100, 4) for row in batch["targets"].tolist()]

    assert chosen == list(range(0, 1_000, 100))
    assert len(list(windows.evenly_spaced(10**9, 64))) == 2  # 100 windows in all
