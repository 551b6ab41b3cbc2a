"""BIO tags (Ramshaw and Marcus 1995): `B-x` begins a span of x, `I-x` goes on with it, and `O` is outside of all."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

OUTSIDE = "O"
#: The label of the predicate itself among semantic roles (PropBank, Palmer et al. 2005).
PREDICATE = "V"
_BEGINS, _GOES_ON = "B-", "I-"


class Span(NamedTuple):
    """Places `start` to `end` of a sequence of tags; the one at `end` is not in it."""

    label: str
    start: int
    end: int


def are_bio(names: Iterable[str]) -> bool:
    """Whether these tags tell spans: all of them are O, B-... or I-..., and not all O."""
    marks = {*names} - {OUTSIDE}
    return bool(marks) and all(map(_marks_a_span, marks))


def follows(before: str | None, tag: str) -> bool:
    """Whether `tag` may stand behind `before`, or first where that is None: an I-... goes on with a span of its own."""
    return not tag.startswith(_GOES_ON) or (before is not None and _label(before) == _label(tag))


def mended(tags: Sequence[str]) -> list[str]:
    """With each I-... that goes on with nothing read as a B-...: so older files mean it (IOB1), and so do readers of
    careless ones."""
    made: list[str] = []
    for tag in tags:
        made.append(tag if follows(made[-1] if made else None, tag) else _BEGINS + _label(tag))
    return made


def spans(tags: Iterable[str]) -> Iterator[Span]:
    """Those of well-formed tags, in order."""
    label, start, end = "", 0, 0
    for place, tag in enumerate(tags):
        if label and not tag.startswith(_GOES_ON):
            yield Span(label, start, place)
            label = ""
        if tag.startswith(_BEGINS):
            label, start = _label(tag), place
        end = place + 1
    if label:
        yield Span(label, start, end)


def arguments(roles: Iterable[str]) -> Iterator[Span]:
    """The spans of well-formed roles, but for the predicate's own."""
    return (span for span in spans(roles) if span.label != PREDICATE)


def _marks_a_span(tag: str) -> bool:
    return tag.startswith((_BEGINS, _GOES_ON))


def _label(tag: str) -> str:
    return tag[2:] if _marks_a_span(tag) else ""
