"""Figures as people read them."""

import pytest

from app.cli.output import count, duration, size


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3_900, "1 h 5 min"), (86_400 * 2, "2 d")],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(("num_bytes", "told"), [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2e12, "2.0 TB")])
def test_sizes(num_bytes: float, told: str) -> None:
    assert size(num_bytes) == told


@pytest.mark.parametrize(("number", "told"), [(12, "12"), (12_300_000, "12.3 M"), (1_500, "1.5 k")])
def test_counts(number: float, told: str) -> None:
    assert count(number) == told
