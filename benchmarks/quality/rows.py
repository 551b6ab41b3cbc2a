"""A row of the table: what one method learns on one real data set, and how that is judged."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.quality.bench import ROOT, Bench, Trained, code_digest


class MissingData(Exception):
    """The message tells where the data come from."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One seed's. `asked`: the worst score that is good enough; None where none is asked for. `notes` are printed."""

    trained: Trained
    score: float
    baseline: float
    asked: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """`baseline` says what the score is held against. `worse`: the row whose score this one's must beat."""

    name: str
    method: str
    data: str
    score: str
    baseline: str
    measure: Callable[[Bench], Measured]
    better: Literal["more", "less"] = "more"
    worse: str | None = None
    digits: int = field(default=3, kw_only=True)

    @property
    def digest(self) -> str:
        """Of the code that its numbers come from."""
        return code_digest(Path(inspect.getfile(inspect.unwrap(_function(self.measure)))), Path(__file__))

    def beats(self, score: float, other: float) -> bool:
        return score > other if self.better == "more" else score < other

    def is_enough(self, score: float, asked: float | None) -> bool:
        return asked is None or score == asked or self.beats(score, asked)


def _function(measure: Callable[[Bench], Measured]) -> Callable[..., Measured]:
    return getattr(measure, "func", measure)  # of a partial


def run_alone(rows: Sequence[Row]) -> None:
    """`python -m benchmarks.quality.<name>`: the module's own rows, by the fast profile unless told otherwise."""
    from benchmarks.quality.runner import run  # noqa: PLC0415  it imports the modules that have rows

    sys.exit(run(rows, sys.argv[1:]))


RESULTS_FOLDER = ROOT / "benchmarks" / "results"
