"""Requests that create: one answer for each `Idempotency-Key`. Knows no resource."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Header, Request, Response, Security

from app.api.auth import get_caller
from app.api.deps import Caller, Services, get_services
from app.contract.scopes import Scope
from app.services.idempotency import Answer, Idempotency, Record

REPLAYED_HEADER = "Idempotency-Replayed"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Up to 255 visible ASCII characters. For 24 hours the same key with the same request gets the "
        f"first answer again, marked `{REPLAYED_HEADER}: true`.",
    ),
]
IN_FLIGHT: dict[int | str, dict[str, Any]] = {
    409: {"description": "The first request with this `Idempotency-Key` is still being answered."}
}


class Resource(Protocol):
    @property
    def id(self) -> str: ...

    def model_dump_json(self) -> str: ...


View = TypeVar("View", bound=Resource)


@dataclass(frozen=True, slots=True)
class Creation:
    """A request that creates, and its way to an answer."""

    services: Services
    caller: Caller
    request_line: str
    key: str | None

    def answer(
        self,
        create: Callable[[Record[View] | None], View],
        *,
        status: HTTPStatus,
        collection: str,
        asked: object = None,
    ) -> Response:
        """`create` passes what it makes to the Record it is given, in the transaction that makes it.

        The resource stands in `collection`. `asked`, of JSON's types, is what the body says: requests that ask the same
        are the same.
        """

        def answer_of(view: View) -> Answer:
            return Answer(status, {"Location": f"{collection}/{view.id}"}, view.model_dump_json())

        if self.key is None:
            return _response(answer_of(create(None)))
        digest = hashlib.sha256(json.dumps([self.request_line, asked], sort_keys=True).encode()).hexdigest()
        once = Idempotency(self.services.database, self.caller.project_id, self.key, digest)
        return _response(once.once(create, answer_of))


async def get_creation(
    request: Request,
    caller: Annotated[Caller, Depends(get_caller)],
    services: Annotated[Services, Depends(get_services)],
    idempotency_key: IdempotencyKey = None,
) -> Creation:
    return Creation(services, caller, f"{request.method} {request.url.path}", idempotency_key)


ThisCreation = Annotated[Creation, Security(get_creation, scopes=[Scope.WRITE])]
#: Of what admins alone make.
AdminsCreation = Annotated[Creation, Security(get_creation, scopes=[Scope.ADMIN])]


def _response(answer: Answer) -> Response:
    headers = dict(answer.headers) | ({REPLAYED_HEADER: "true"} if answer.replayed else {})
    return Response(answer.body, answer.status_code, headers, media_type="application/json")
