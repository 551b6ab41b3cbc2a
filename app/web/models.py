"""Pages of models: all of them, and one with its card, its ancestry and a place to try it."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.services.datasets import Datasets
from app.services.evaluations import Evaluations
from app.services.jobs import Jobs
from app.services.models import Models
from app.web.lineage import Ancestry
from app.web.rendering import render
from app.web.snippets import evaluation_of, snippets_of
from app.web.visitors import PageRoute, ThisVisitor

PAGE_SIZE = 50
EVALUATIONS_SHOWN = 20

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/models")
def show_models(
    request: Request, visitor: ThisVisitor, cursor: Annotated[str | None, Query(max_length=64)] = None
) -> HTMLResponse:
    models = Models(visitor.services.database, visitor.services.store, visitor.services.settings)
    page = models.page(visitor.project_id, cursor=cursor, limit=PAGE_SIZE)
    return render(request, "models.html", page=page, cursor=cursor)


@router.get("/models/{ref}")
def show_model(request: Request, visitor: ThisVisitor, ref: Annotated[PlainText, Path(max_length=200)]) -> HTMLResponse:
    services, project_id = visitor.services, visitor.project_id
    models = Models(services.database, services.store, services.settings)
    ancestry = Ancestry(
        Jobs(services.database, services.dispatcher, services.settings),
        models,
        Datasets(services.database, services.store, services.validators),
        project_id,
    )
    model, origin = models.get(project_id, ref), str(request.base_url).rstrip("/")
    return render(
        request,
        "model.html",
        model=model,
        lineage=ancestry.of_model(model),
        evaluations=Evaluations(services.database, services.store).page(project_id, model.id, None, EVALUATIONS_SHOWN),
        evaluate=evaluation_of(model, origin),
        snippets=snippets_of(model, origin, with_key=visitor.has_key),
        state={"model": model},
    )
