"""The page of workers: who is there to train and to answer."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.services.workers import living_workers
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/workers")
def show_workers(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    return render(request, "workers.html", workers=living_workers(visitor.services.database, visitor.services.settings))


@router.get("/workers/table")
def show_table(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    """The part of the page that lives."""
    return render(
        request, "_workers.html", workers=living_workers(visitor.services.database, visitor.services.settings)
    )
