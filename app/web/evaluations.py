"""Pages of evaluations: what one found, drawn, and two beside each other. They need no script."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.contract.evaluations import ConfusionMatrix, Figure
from app.services.evaluations import Evaluations
from app.services.models import Models
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

OTHERS_SHOWN = 20
#: Shades of a heat map, as the style sheet has them.
SHADES = 9

router = APIRouter(include_in_schema=False, route_class=PageRoute)
EvaluationId = Annotated[PlainText, Path(max_length=64)]


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval on a scale from 0 to 100; `zero` is where nothing is, if that is within."""

    start: float
    width: float
    mark: float
    zero: float


@router.get("/evaluations/{evaluation_id}")
def show_evaluation(request: Request, visitor: ThisVisitor, evaluation_id: EvaluationId) -> HTMLResponse:
    evaluations, project_id = _evaluations(visitor), visitor.project_id
    found = evaluations.get(project_id, evaluation_id)
    report = found.report
    return render(
        request,
        "evaluation.html",
        found=found,
        model=_models(visitor).get(project_id, found.model_id),
        bars=_bars(report.measures),
        label_bars=[on_scale(label.f1, 0.0, 1.0) for label in report.labels or ()],
        shades=_shades(report.confusion) if report.confusion else [],
        others=evaluations.on_same_data(project_id, evaluation_id, OTHERS_SHOWN),
    )


@router.get("/evaluations/{evaluation_id}/compare/{other_id}")
def compare_evaluations(
    request: Request, visitor: ThisVisitor, evaluation_id: EvaluationId, other_id: EvaluationId
) -> HTMLResponse:
    found = _evaluations(visitor).compare(visitor.project_id, evaluation_id, other_id)
    models = _models(visitor)
    return render(
        request,
        "evaluations_compared.html",
        found=found,
        models=[models.get(visitor.project_id, each.model_id) for each in (found.first, found.second)],
        bars={name: _around_zero(each.difference) for name, each in found.measures.items()},
    )


def on_scale(figure: Figure, floor: float, ceiling: float) -> Bar:
    def place(value: float) -> float:
        share = (value - floor) / (ceiling - floor) if ceiling > floor else 0.5
        return round(100 * min(1.0, max(0.0, share)), 2)

    start = place(figure.low)
    return Bar(start, round(place(figure.high) - start, 2), place(figure.value), place(0.0))


def _bars(measures: Mapping[str, Figure]) -> dict[str, Bar]:
    """What lies between 0 and 1 on that scale; all else from nothing to a little more than there is."""
    return {name: _bar(figure) for name, figure in measures.items()}


def _bar(figure: Figure) -> Bar:
    ends = (figure.low, figure.value, figure.high)
    if min(ends) >= 0.0 and max(ends) <= 1.0:
        return on_scale(figure, 0.0, 1.0)
    return on_scale(figure, *_with_room(ends))


def _around_zero(figure: Figure) -> Bar:
    reach = 1.1 * max(abs(figure.low), abs(figure.high), abs(figure.value))
    return on_scale(figure, -reach, reach)


def _with_room(ends: Iterable[float]) -> tuple[float, float]:
    held = [*ends, 0.0]
    return 1.1 * min(held), 1.1 * max(held)


def _shades(matrix: ConfusionMatrix) -> list[list[int]]:
    """Of each cell, by its share of what stands in the row: 0 to `SHADES`."""
    return [[round(SHADES * count / max(1, sum(row))) for count in row] for row in matrix.counts]


def _evaluations(visitor: Visitor) -> Evaluations:
    return Evaluations(visitor.services.database, visitor.services.store)


def _models(visitor: Visitor) -> Models:
    services = visitor.services
    return Models(services.database, services.store, services.settings)
