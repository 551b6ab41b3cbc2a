"""What an evaluation leaves: a report on one model and one data set, and what each unit of the data adds to it.

The units (examples, sentences, documents) lie in a .npz of plain arrays, a row each, in the order of the data. All of
the report can be computed from them anew, and two models be compared unit by unit.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract
from app.contract.model_folder import Label

REPORT_NAME = "evaluation.json"
REPORT_MEDIA_TYPE = "application/json"
UNITS_NAME = "units.npz"
UNITS_MEDIA_TYPE = "application/x-npz"

#: Of every interval, in percent.
CONFIDENCE = 95
Unit = Literal["example", "sentence", "proposition", "document", "conversation", "window"]


class Figure(Contract):
    """A figure over all units, and the bounds that 95 % of the figures of resampled units lie within."""

    value: float
    low: float
    high: float


class LabelScores(Contract):
    """`support`: how often the data have the label; `told`: how often the model does."""

    label: Label
    precision: Figure
    recall: Figure
    f1: Figure
    support: int
    told: int


class ConfusionMatrix(Contract):
    """`counts[i][j]`: examples of label i, of which the model told label j."""

    labels: Annotated[tuple[Label, ...], Field(strict=False)]
    counts: Annotated[tuple[Annotated[tuple[int, ...], Field(strict=False)], ...], Field(strict=False)]


class ReliabilityBin(Contract):
    """Examples that the model was that sure of: on the mean, and how many of them it told right (0..1). Both are null
    of an empty bin."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class EvaluationReport(Contract):
    """`unit` is what was resampled, `num_units` of them. `measures` are in order of importance; `higher_is_better`
    names those of which more is better. `labels` are those of examples, or of spans, roles and tags.
    """

    method: str
    unit: Unit
    num_units: int
    seed: int
    resamples: int
    measures: dict[str, Figure]
    higher_is_better: Annotated[tuple[str, ...], Field(strict=False)]
    labels: Annotated[tuple[LabelScores, ...], Field(strict=False)] | None = None
    confusion: ConfusionMatrix | None = None
    reliability: Annotated[tuple[ReliabilityBin, ...], Field(strict=False)] | None = None
    warnings: Annotated[tuple[str, ...], Field(strict=False)] = ()


#: Where no more digits are told: what is smaller is as good as certain, or as small as so many resamples can tell.
SMALLEST_TOLD_P = 0.001


class Difference(Contract):
    """`difference` is the first's value less the second's, with its 95 % bounds over the same resampled units of both.
    `p_value`: how often a difference as large, either way, arises where the two models are of one kind."""

    first: float
    second: float
    difference: Figure
    p_value: float
    test: Literal["mcnemar_exact", "approximate_randomization"]
    better: Literal["first", "second"] | None = Field(description="Null where p_value is not below 0.05.")


class Comparison(Contract):
    """Two evaluations on the same units, measure by measure; `finding` is a sentence on the first of them."""

    unit: Unit
    num_units: int
    measures: dict[str, Difference]
    finding: str
    warnings: Annotated[tuple[str, ...], Field(strict=False)] = ()


def p_words(p_value: float) -> str:
    """As people read it, behind `p`: McNemar's exact test knows values that round to zero."""
    return f"< {SMALLEST_TOLD_P:g}" if p_value < SMALLEST_TOLD_P else f"= {p_value:.2g}"
