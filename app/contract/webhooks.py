"""What webhooks are told of jobs, and what one is made of."""

import base64
import binascii
import secrets
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from app.contract.base import Contract
from app.contract.job import JobStatus

SECRET_PREFIX = "whsec_"  # noqa: S105  the same for all
#: As Standard Webhooks asks for.
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
NEW_SECRET_BYTES = 32


class WebhookEvent(StrEnum):
    """A job has come to this status, or a sweep to its end. `pausing` and `cancelling` are no news: what follows is."""

    JOB_WAITING = "job.waiting"
    JOB_QUEUED = "job.queued"
    JOB_RUNNING = "job.running"
    JOB_PAUSED = "job.paused"
    JOB_CANCELLED = "job.cancelled"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    SWEEP_CANCELLED = "sweep.cancelled"
    SWEEP_SUCCEEDED = "sweep.succeeded"
    SWEEP_FAILED = "sweep.failed"


ENDS = (WebhookEvent.JOB_SUCCEEDED, WebhookEvent.JOB_FAILED, WebhookEvent.JOB_CANCELLED)
_OF_STATUS = {event.value.removeprefix("job."): event for event in WebhookEvent if event.value.startswith("job.")}


def event_of(status: JobStatus) -> WebhookEvent | None:
    return _OF_STATUS.get(status.value)


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(NEW_SECRET_BYTES)).decode()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is no port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from None
    if not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address with a user's name or password in it is not taken: the signature tells who calls")
    if parts.fragment:
        raise ValueError(f"{url!r} ends in a fragment, which no server is sent")
    return url


def _checked_secret(secret: str) -> str:
    try:
        size = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except binascii.Error:
        size = 0
    if not secret.startswith(SECRET_PREFIX) or not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise ValueError(
            f"a secret is {SECRET_PREFIX} and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes; "
            "leave it out, and one is made"
        )
    return secret


WebhookUrl = Annotated[
    str,
    Field(max_length=2_000, pattern=r"^https?://[\x21-\x7e]+$", description="http or https, in ASCII."),
    AfterValidator(_checked_url),
]
WebhookSecret = Annotated[str, Field(max_length=200), AfterValidator(_checked_secret)]


class Webhook(Contract):
    """Where to tell what becomes of jobs; signed as Standard Webhooks says, told at least once."""

    url: WebhookUrl
    events: Annotated[list[Annotated[WebhookEvent, Field(strict=False)]], Field(min_length=1, max_length=20)] = [*ENDS]
    secret: WebhookSecret | None = Field(
        default=None,
        exclude=True,
        description="Signs what is sent. Where it is left out, one is made. `GET /v1/webhooks/{webhook_id}/secret` "
        "tells it, nothing else does.",
    )
