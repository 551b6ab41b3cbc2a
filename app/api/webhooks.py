"""`/v1/webhooks`: where a project wants to be told of its jobs. `/v1/deliveries`: what was told, and what was not."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.contract.base import PlainText
from app.contract.webhooks import Webhook
from app.db.outbox import DeliveryStatus
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT
from app.services.webhooks import (
    DeliveryPage,
    DeliveryView,
    WebhookPage,
    Webhooks,
    WebhookSecretView,
    WebhookView,
)

router = APIRouter(prefix="/v1", tags=["webhooks"])

NO_WEBHOOK: dict[int | str, dict[str, Any]] = {404: {"description": "This project has no such webhook."}}
NO_DELIVERY: dict[int | str, dict[str, Any]] = {404: {"description": "This project has no such delivery."}}


async def get_webhooks(services: Annotated[Services, Depends(get_services)]) -> Webhooks:
    return Webhooks(services.database, services.settings)


WebhooksService = Annotated[Webhooks, Depends(get_webhooks)]
WebhookId = Annotated[PlainText, Path(max_length=64)]
DeliveryId = Annotated[PlainText, Path(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]


@router.post("/webhooks", status_code=HTTPStatus.CREATED, response_model=WebhookView, responses=IN_FLIGHT)
def create_webhook(body: Webhook, webhooks: WebhooksService, creation: ThisCreation) -> Response:
    """Be told of all jobs of this project. A job may have a webhook of its own too: `webhook` in its spec."""
    return creation.answer(
        lambda record: webhooks.create(creation.caller.project_id, body, record),
        status=HTTPStatus.CREATED,
        collection="/v1/webhooks",
        asked=[body.model_dump(mode="json"), body.secret],
    )


@router.get("/webhooks")
def list_webhooks(
    caller: Reader,
    webhooks: WebhooksService,
    job: Annotated[PlainText | None, Query(max_length=64, description="Those of one job alone.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> WebhookPage:
    """The project's webhooks, the newest first."""
    return webhooks.page(caller.project_id, job_id=job, cursor=cursor, limit=limit)


@router.get("/webhooks/{webhook_id}", responses=NO_WEBHOOK)
def get_webhook(webhook_id: WebhookId, caller: Reader, webhooks: WebhooksService) -> WebhookView:
    """One webhook, without its secret."""
    return webhooks.get(caller.project_id, webhook_id)


@router.get("/webhooks/{webhook_id}/secret", responses=NO_WEBHOOK)
def get_webhook_secret(webhook_id: WebhookId, caller: Writer, webhooks: WebhooksService) -> WebhookSecretView:
    """What the signatures of its notices are checked with."""
    return webhooks.secret(caller.project_id, webhook_id)


@router.delete("/webhooks/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, responses=NO_WEBHOOK)
def delete_webhook(webhook_id: WebhookId, caller: Writer, webhooks: WebhooksService) -> None:
    """Be told no more, not even of what was on its way."""
    webhooks.delete(caller.project_id, webhook_id)


@router.get("/deliveries")
def list_deliveries(
    *,
    caller: Reader,
    webhooks: WebhooksService,
    status: Annotated[DeliveryStatus | None, Query(description="`failed` are the dead letters.")] = None,
    webhook: Annotated[PlainText | None, Query(max_length=64, description="Those of one webhook alone.")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> DeliveryPage:
    """The notices of the last 30 days, the newest first."""
    return webhooks.deliveries(caller.project_id, status=status, webhook_id=webhook, cursor=cursor, limit=limit)


@router.get("/deliveries/{delivery_id}", responses=NO_DELIVERY)
def get_delivery(delivery_id: DeliveryId, caller: Reader, webhooks: WebhooksService) -> DeliveryView:
    """One notice, and what came of it."""
    return webhooks.delivery(caller.project_id, delivery_id)


@router.post("/deliveries/{delivery_id}/redeliver", status_code=HTTPStatus.ACCEPTED, responses=NO_DELIVERY)
def redeliver(delivery_id: DeliveryId, caller: Writer, webhooks: WebhooksService) -> DeliveryView:
    """Send a notice again now, whatever became of it; its `webhook-id` stays."""
    return webhooks.redeliver(caller.project_id, delivery_id)
