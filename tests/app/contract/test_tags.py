"""BIO tags: what they tell, and how ill-formed ones are read."""

from itertools import product

import pytest

from app.contract.tags import Span, are_bio, arguments, follows, mended, spans


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["I-PER", "O"], True),
        (["B-A", "I-A"], True),
        (["O"], False),
        (["NOUN", "VERB"], False),
        (["B-A", "S-A", "O"], False),
    ],
)
def test_bio_is_told_by_the_names_of_tags(names: list[str], expected: bool) -> None:
    assert are_bio(names) == expected


def test_spans_end_where_another_begins_or_nothing_goes_on() -> None:
    tags = ["B-A", "I-A", "B-A", "O", "B-B", "B-A", "I-A"]

    assert [*spans(tags)] == [Span("A", 0, 2), Span("A", 2, 3), Span("B", 4, 5), Span("A", 5, 7)]


def test_the_predicate_is_no_argument() -> None:
    assert [*arguments(["B-A0", "O", "B-V", "I-V", "B-A1"])] == [Span("A0", 0, 1), Span("A1", 4, 5)]


def test_what_goes_on_with_nothing_begins() -> None:
    assert mended(["I-A", "I-A", "I-B", "O", "I-A", "B-A"]) == ["B-A", "I-A", "B-B", "O", "B-A", "B-A"]


def test_mended_tags_are_well_formed_and_well_formed_ones_stay() -> None:
    for tags in product(["O", "B-A", "I-A", "B-B", "I-B"], repeat=4):
        made = mended(tags)
        assert all(follows(before, tag) for before, tag in zip([None, *made[:-1]], made, strict=True))
        assert mended(made) == made
