"""What the demo compares its models with."""

import pytest

from app.client.demo import bits_by_letter_counts


def test_two_characters_as_frequent_as_each_other_cost_a_bit_each() -> None:
    assert bits_by_letter_counts("ab" * 50_000, "abba") == pytest.approx(1.0, abs=0.01)


def test_a_rare_character_costs_more_and_one_never_seen_most() -> None:
    taught = "a" * 1_000 + "b"
    assert 0 < bits_by_letter_counts(taught, "a") < bits_by_letter_counts(taught, "b") < 20
    assert bits_by_letter_counts(taught, "b") < bits_by_letter_counts(taught, "c") < 20
