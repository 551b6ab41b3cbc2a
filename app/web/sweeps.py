"""Pages of sweeps: all of them, and one with its trials."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.services.sweeps.service import Sweeps
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

PAGE_SIZE = 50

router = APIRouter(include_in_schema=False, route_class=PageRoute)
Cursor = Annotated[str | None, Query(max_length=64)]


@router.get("/sweeps")
def show_sweeps(request: Request, visitor: ThisVisitor, cursor: Cursor = None) -> HTMLResponse:
    return _listed(request, "sweeps.html", visitor, cursor)


@router.get("/sweeps/table")
def show_table(request: Request, visitor: ThisVisitor, cursor: Cursor = None) -> HTMLResponse:
    """The part of the page that lives."""
    return _listed(request, "_sweeps.html", visitor, cursor)


@router.get("/sweeps/{sweep_id}")
def show_sweep(
    request: Request, visitor: ThisVisitor, sweep_id: Annotated[PlainText, Path(max_length=64)]
) -> HTMLResponse:
    sweep = sweeps_of(visitor).get(visitor.project_id, sweep_id)
    return render(request, "sweep.html", sweep=sweep, state={"sweep": sweep})


def sweeps_of(visitor: Visitor) -> Sweeps:
    services = visitor.services
    return Sweeps(services.database, services.store, services.dispatcher, services.settings)


def _listed(request: Request, template: str, visitor: Visitor, cursor: str | None) -> HTMLResponse:
    page = sweeps_of(visitor).page(visitor.project_id, (), cursor, PAGE_SIZE)
    return render(request, template, page=page, cursor=cursor)
