"""The rules of webhooks: where a project wants to be told of its jobs, and what came of telling."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import Conflict, FieldError, InvalidRequest, NotFound
from app.contract.webhooks import Webhook, WebhookEvent, new_secret
from app.db import outbox, projects, webhooks
from app.db.ids import new_id
from app.db.outbox import PENDING, DeliveryStatus
from app.db.session import Database, now
from app.db.tables import OutboxRow, WebhookRow
from app.services.idempotency import Record
from app.services.paging import cut, id_before
from app.settings import Settings
from app.webhooks.network import AddressRefused, refuse_closed

#: Each status of each job asks all of them.
MAX_OF_PROJECT = 20


class WebhookView(Contract):
    """`job_id` where it is told of one job alone."""

    id: str
    job_id: str | None
    url: str
    events: list[WebhookEvent]
    created_at: datetime


class WebhookPage(Contract):
    data: list[WebhookView]
    next_cursor: str | None


class WebhookSecretView(Contract):
    secret: str


class DeliveryView(Contract):
    """A notice, and what came of it. `id` is what the receiver finds in `webhook-id`, the same at every attempt.

    `failed` is one that was tried for three days, or that the receiver answered with 410; it can be sent again.
    """

    id: str
    webhook_id: str
    event: WebhookEvent
    payload: dict[str, Any]
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    error: str | None
    created_at: datetime
    delivered_at: datetime | None


class DeliveryPage(Contract):
    data: list[DeliveryView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Webhooks:
    database: Database
    settings: Settings

    def create(self, project_id: str, asked: Webhook, record: Record[WebhookView] | None = None) -> WebhookView:
        """Told of all jobs of the project. Raises InvalidRequest and Conflict. `record` as in `Jobs.submit`."""
        check_address(asked, self.settings, "url")
        with self.database.transaction() as session:
            projects.lock(session, project_id)
            if webhooks.num_of_project(session, project_id) >= MAX_OF_PROJECT:
                raise Conflict(f"The project has {MAX_OF_PROJECT} webhooks, and no more is allowed. Delete one first.")
            row = webhook_row(asked, project_id, now(session))
            webhooks.insert(session, row)
            if record is not None:
                record(session, _view(row))
        return _view(row)

    def page(self, project_id: str, *, job_id: str | None, cursor: str | None, limit: int) -> WebhookPage:
        """Those of single jobs too."""
        before_id = id_before(cursor, "wh")
        with self.database.reading() as session:
            found = webhooks.page(session, project_id, job_id=job_id, before_id=before_id, limit=limit + 1)
            rows, next_cursor = cut(found, limit)
        return WebhookPage(data=[_view(row) for row in rows], next_cursor=next_cursor)

    def get(self, project_id: str, webhook_id: str) -> WebhookView:
        with self.database.reading() as session:
            return _view(_webhook(session, project_id, webhook_id))

    def secret(self, project_id: str, webhook_id: str) -> WebhookSecretView:
        with self.database.reading() as session:
            return WebhookSecretView(secret=_webhook(session, project_id, webhook_id).secret)

    def delete(self, project_id: str, webhook_id: str) -> None:
        """What was not yet told is told no more."""
        with self.database.transaction() as session:
            webhooks.remove(session, _webhook(session, project_id, webhook_id).id)

    def deliveries(
        self, project_id: str, *, status: DeliveryStatus | None, webhook_id: str | None, cursor: str | None, limit: int
    ) -> DeliveryPage:
        before_id = id_before(cursor, "msg")
        with self.database.reading() as session:
            rows, next_cursor = cut(
                outbox.page(
                    session, project_id, status=status, webhook_id=webhook_id, before_id=before_id, limit=limit + 1
                ),
                limit,
            )
        return DeliveryPage(data=[_delivery(row) for row in rows], next_cursor=next_cursor)

    def delivery(self, project_id: str, notice_id: str) -> DeliveryView:
        with self.database.reading() as session:
            return _delivery(_found(outbox.get(session, project_id, notice_id), notice_id))

    def redeliver(self, project_id: str, notice_id: str) -> DeliveryView:
        """Now, and with all its attempts before it."""
        with self.database.transaction() as session:
            return _delivery(_found(outbox.again(session, project_id, notice_id, now(session)), notice_id))


def check_address(asked: Webhook, settings: Settings, location: str) -> None:
    """What the address alone tells; a name is judged when it is called. Raises InvalidRequest."""
    try:
        refuse_closed(asked.url, settings.webhook_networks)
    except AddressRefused as refused:
        raise InvalidRequest(str(refused), errors=[FieldError(location=location, message=str(refused))]) from None


def webhook_row(asked: Webhook, project_id: str, at: datetime, job_id: str | None = None) -> WebhookRow:
    return WebhookRow(
        id=new_id("wh"),
        project_id=project_id,
        job_id=job_id,
        url=asked.url,
        events=[*asked.events],
        secret=asked.secret or new_secret(),
        created_at=at,
    )


def _webhook(session: Session, project_id: str, webhook_id: str) -> WebhookRow:
    row = webhooks.get(session, project_id, webhook_id)
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id!r}. GET /v1/webhooks lists them.")
    return row


def _found(row: OutboxRow | None, notice_id: str) -> OutboxRow:
    if row is None:
        raise NotFound(f"There is no delivery {notice_id!r}. GET /v1/deliveries lists those of the last 30 days.")
    return row


def _view(row: WebhookRow) -> WebhookView:
    return WebhookView(id=row.id, job_id=row.job_id, url=row.url, events=_events(row.events), created_at=row.created_at)


def _events(names: Sequence[str]) -> list[WebhookEvent]:
    return [WebhookEvent(name) for name in names]


def _delivery(row: OutboxRow) -> DeliveryView:
    return DeliveryView.model_validate(
        {name: getattr(row, name) for name in _PLAIN}
        | {"event": WebhookEvent(row.event), "next_attempt_at": row.due_at if row.status == PENDING else None}
    )


#: The fields that are columns.
_PLAIN = (set(DeliveryView.model_fields) & set(OutboxRow.__table__.columns.keys())) - {"event"}
