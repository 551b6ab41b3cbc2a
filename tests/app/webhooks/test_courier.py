"""What becomes of jobs is told, signed, at least once, and to nobody twice at a time."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks.webhooks import WebhookVerificationError

from app.contract.job import JobStatus
from app.contract.webhooks import Webhook, WebhookEvent, new_secret
from app.db import jobs, outbox
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, JobRow, OutboxRow
from app.services.webhooks import DeliveryView, Webhooks
from app.settings import Settings
from app.webhooks.courier import HOLD, PAUSES, Courier
from tests.factories import make_job
from tests.support.receiver import Receiver, receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_networks": (ip_network("127.0.0.0/8"),)})


@pytest.fixture
def service(database: Database, settings: Settings) -> Webhooks:
    return Webhooks(database, settings)


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def told_of(url: str, *events: WebhookEvent, **fields: Any) -> Webhook:
    return Webhook(url=url, events=[*events] or [*WebhookEvent], **fields)


def round_of(database: Database, settings: Settings) -> None:
    """One courier's, alone."""

    async def once() -> None:
        await Courier(database, settings).round()

    asyncio.run(once())


def move(database: Database, job: JobRow, to: JobStatus, **changes: Any) -> None:
    with database.transaction() as session:
        assert jobs.transition(session, job.id, to, when={JobStatus(job.status)}, at=now(session), **changes)


def deliveries(service: Webhooks, **filters: Any) -> list[DeliveryView]:
    """The oldest first."""
    given = {"status": None, "webhook_id": None} | filters
    return service.deliveries(DEFAULT_PROJECT_ID, cursor=None, limit=100, **given).data[::-1]


def make_due(database: Database, *, by: timedelta) -> None:
    """As if so much time had passed."""
    with database.transaction() as session:
        session.execute(update(OutboxRow).values(due_at=now(session) - by))


def test_a_jobs_end_is_told_and_signed(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    secret = new_secret()
    webhook = service.create(DEFAULT_PROJECT_ID, Webhook(url=here.url, secret=secret))
    job = make_job(database, status=JobStatus.RUNNING, name="mine", job_metadata={"team": "nlp"})

    move(database, job, JobStatus.FAILED, error={"code": "lost", "message": "gone", "fault": "infrastructure"})
    round_of(database, settings)

    [notice] = here.received
    told = notice.verified(secret)
    assert told["type"] == "job.failed"
    assert told["data"] == {
        "id": job.id,
        "kind": "pretrain",
        "method": "causal_language_model",
        "name": "mine",
        "status": "failed",
        "attempt": job.attempt,
        "model_id": None,
        "metadata": {"team": "nlp"},
        "error": {"code": "lost", "message": "gone", "fault": "infrastructure"},
    }
    [delivery] = deliveries(service)
    assert (delivery.id, delivery.webhook_id) == (notice.headers["webhook-id"], webhook.id)
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 204)
    with pytest.raises(WebhookVerificationError):
        notice.verified(new_secret())


def test_only_what_was_asked_for_is_told(database: Database, service: Webhooks, here: Receiver) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url, WebhookEvent.JOB_RUNNING, WebhookEvent.JOB_SUCCEEDED))
    job = make_job(database, status=JobStatus.QUEUED)
    for status in (JobStatus.RUNNING, JobStatus.PAUSING):
        move(database, job, status)
        job.status = status
    assert [each.event for each in deliveries(service)] == ["job.running"]


def test_a_rolled_back_change_is_not_told(database: Database, service: Webhooks, here: Receiver) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url))
    job = make_job(database, status=JobStatus.RUNNING)
    before = deliveries(service)
    with database.transaction() as session:
        assert jobs.transition(session, job.id, JobStatus.SUCCEEDED, when={JobStatus.RUNNING}, at=now(session))
        assert len(session.scalars(select(OutboxRow)).all()) == len(before) + 1
        session.rollback()
    assert deliveries(service) == before


def test_what_fails_is_tried_again_later_each_time_and_then_given_up(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url, WebhookEvent.JOB_QUEUED))
    make_job(database)
    here.statuses += [500] * (len(PAUSES) + 1)
    for attempt in range(1, len(PAUSES) + 1):
        round_of(database, settings)
        round_of(database, settings)  # not before it is due
        [delivery] = deliveries(service)
        assert (delivery.status, delivery.attempts) == ("pending", attempt)
        assert delivery.error == "It answered with the status 500."
        assert delivery.next_attempt_at is not None
        make_due(database, by=timedelta(0))
    round_of(database, settings)

    [delivery] = deliveries(service, status="failed")
    assert (delivery.attempts, delivery.next_attempt_at) == (len(PAUSES) + 1, None)
    assert len({each.headers["webhook-id"] for each in here.received}) == 1
    assert len(here.received) == len(PAUSES) + 1

    service.redeliver(DEFAULT_PROJECT_ID, delivery.id)
    round_of(database, settings)
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts, delivery.error) == ("delivered", 1, None)


def test_a_receiver_that_is_gone_is_asked_once(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url))
    make_job(database)
    here.statuses.append(410)
    round_of(database, settings)
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts) == ("failed", 1)


def test_a_receiver_that_is_not_there_is_told_of(database: Database, settings: Settings, service: Webhooks) -> None:
    with receiver() as closed:
        pass
    service.create(DEFAULT_PROJECT_ID, told_of(closed.url))
    make_job(database)
    round_of(database, settings)
    [delivery] = deliveries(service)
    assert delivery.status == "pending"
    assert (delivery.error or "").startswith("It could not be reached: ")


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid", "nobody.invalid"])
def test_a_name_that_nobody_has_or_can_have_is_told_of(
    database: Database, settings: Settings, service: Webhooks, host: str
) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(f"https://{host}/"))
    make_job(database)
    round_of(database, settings)
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert (delivery.error or "").startswith("It could not be reached: ")


def test_a_redirect_is_not_followed(database: Database, settings: Settings, service: Webhooks, here: Receiver) -> None:
    with receiver() as elsewhere:
        service.create(DEFAULT_PROJECT_ID, told_of(here.url))
        make_job(database)
        here.statuses.append(307)
        here.headers["Location"] = elsewhere.url
        round_of(database, settings)
        assert elsewhere.received == []
    [delivery] = deliveries(service)
    assert delivery.error == "It answered with the status 307."


def test_who_dies_on_the_way_leaves_it_to_the_next(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url))
    make_job(database)
    with database.transaction() as session:
        at = now(session)
        [taken] = outbox.take_due(session, at, until=at + HOLD, limit=10)
    round_of(database, settings)
    assert here.received == []
    make_due(database, by=timedelta(0))
    round_of(database, settings)
    assert [each.headers["webhook-id"] for each in here.received] == [taken.id]
    with database.transaction() as session:
        outbox.note_failure(session, taken, "too late", None, None)
    assert [each.status for each in deliveries(service)] == ["delivered"]


def test_two_couriers_do_not_tell_the_same_at_the_same_time(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    for path in range(4):
        service.create(DEFAULT_PROJECT_ID, told_of(f"{here.url}/{path}"))
    for _ in range(3):
        make_job(database)
    couriers = [threading.Thread(target=round_of, args=(database, settings)) for _ in range(2)]
    for courier in couriers:
        courier.start()
    for courier in couriers:
        courier.join()
    told = [each.headers["webhook-id"] for each in here.received]
    assert len(told) == len(set(told)) == 12
    assert {each.status for each in deliveries(service)} == {"delivered"}


def test_a_webhook_that_is_deleted_is_told_no_more(
    database: Database, settings: Settings, service: Webhooks, here: Receiver
) -> None:
    webhook = service.create(DEFAULT_PROJECT_ID, told_of(here.url))
    make_job(database)
    service.delete(DEFAULT_PROJECT_ID, webhook.id)
    round_of(database, settings)
    assert here.received == []
    assert deliveries(service) == []


def test_old_notices_are_forgotten_but_not_those_still_to_be_told(
    database: Database, service: Webhooks, here: Receiver
) -> None:
    service.create(DEFAULT_PROJECT_ID, told_of(here.url))
    make_job(database)
    make_job(database)
    first, second = deliveries(service)
    with database.transaction() as session:
        session.execute(update(OutboxRow).where(OutboxRow.id == first.id).values(status="failed"))
        outbox.sweep(session, now(session) + timedelta(seconds=1))
    assert deliveries(service) == [second]
