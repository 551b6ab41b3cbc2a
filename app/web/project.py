"""The page of a project: what it takes up, who may use it, and whom it tells what becomes of its jobs."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from app.contract.scopes import Scope, permits
from app.contract.webhooks import WebhookEvent
from app.services.keys import Keys
from app.services.paging import MAX_LIMIT
from app.services.quotas import Quotas
from app.services.webhooks import DeliveryPage, Webhooks
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

DELIVERIES_SHOWN = 50

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/project")
def show_project(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    services, project_id = visitor.services, visitor.project_id
    keys = Keys(services.database).page(project_id, None, MAX_LIMIT) if permits(visitor.scopes, Scope.ADMIN) else None
    return render(
        request,
        "project.html",
        project_id=project_id,
        quota=Quotas(services.database, services.settings).view(project_id),
        keys=keys,
        scopes=[*Scope],
        webhooks=_webhooks(visitor).page(project_id, job_id=None, cursor=None, limit=MAX_LIMIT),
        events=[*WebhookEvent],
        deliveries=_deliveries(visitor),
    )


@router.get("/project/deliveries")
def show_deliveries(request: Request, visitor: ThisVisitor) -> HTMLResponse:
    """The part of the page that lives."""
    return render(request, "_deliveries.html", deliveries=_deliveries(visitor))


def _deliveries(visitor: Visitor) -> DeliveryPage:
    """The newest."""
    return _webhooks(visitor).deliveries(
        visitor.project_id, status=None, webhook_id=None, cursor=None, limit=DELIVERIES_SHOWN
    )


def _webhooks(visitor: Visitor) -> Webhooks:
    return Webhooks(visitor.services.database, visitor.services.settings)
