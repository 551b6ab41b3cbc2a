"""Pages of data sets: all of them with the upload, and one with what it holds and where it is used."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.records.types import DatasetKind
from app.services.datasets import Datasets
from app.services.jobs.table import JobTable, TableFilters
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

PAGE_SIZE = 50
#: Jobs named on the page of a data set.
USES_SHOWN = 20

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/datasets")
def show_datasets(
    request: Request, visitor: ThisVisitor, cursor: Annotated[str | None, Query(max_length=64)] = None
) -> HTMLResponse:
    page = _datasets(visitor).page(visitor.project_id, cursor, PAGE_SIZE)
    return render(request, "datasets.html", page=page, cursor=cursor, kinds=[kind.value for kind in DatasetKind])


@router.get("/datasets/{dataset_id}")
def show_dataset(
    request: Request, visitor: ThisVisitor, dataset_id: Annotated[PlainText, Path(max_length=64)]
) -> HTMLResponse:
    dataset = _datasets(visitor).get(visitor.project_id, dataset_id)
    filters = TableFilters(dataset_id=dataset.id)
    uses = JobTable(visitor.services.database, visitor.services.settings).page(
        visitor.project_id, filters, sort="created", descending=True, number=1, size=USES_SHOWN
    )
    return render(request, "dataset.html", dataset=dataset, uses=uses, state={"dataset": dataset})


def _datasets(visitor: Visitor) -> Datasets:
    services = visitor.services
    return Datasets(services.database, services.store, services.validators)
