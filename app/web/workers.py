"""The page of workers: who is there to train and to answer."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.services.paging import MAX_LIMIT
from app.services.workers import Workers, WorkerView
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/workers")
def show_workers(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    return render(request, "workers.html", workers=_workers(visitor))


@router.get("/workers/table")
def show_table(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    """The part of the page that lives."""
    return render(request, "_workers.html", workers=_workers(visitor))


def _workers(visitor: Visitor) -> list[WorkerView]:
    """The newest; those that live first."""
    workers = Workers(visitor.services.database, visitor.services.settings)
    page = workers.page(visitor.project_id, state=None, cursor=None, limit=MAX_LIMIT)
    return sorted(page.data, key=lambda worker: worker.state != "live")
