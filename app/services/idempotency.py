"""A request that creates is carried out at most once for its `Idempotency-Key`; repetitions get the first answer.

The answer is written in the transaction that creates, so no crash can come between the two: either both stand, and a
repetition is answered from the row, or neither does, and a repetition starts afresh. Before that transaction a claim
marks the key as in flight. It is a courtesy, not a lock: that of a process that died is passed over after
ABANDONED_AFTER, and should its request be alive and only slow, whichever commits first has created and the other is
rolled back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.contract.errors import Conflict, ErrorCode, InvalidRequest
from app.db import idempotency
from app.db.session import Database, now

KEPT_FOR = timedelta(hours=24)
ABANDONED_AFTER = timedelta(seconds=60)
IN_FLIGHT_SECONDS = 1

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request that creates was answered; `body` is JSON."""

    status_code: int
    headers: Mapping[str, str]
    body: str
    replayed: bool = False


View = TypeVar("View")
#: To be called with what was created, in the transaction that creates it.
Record = Callable[[Session, View], None]


class _Overtaken(Exception):
    """Another request with the same key has committed its answer first."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """`request_sha256` tells one request from another: whatever the caller holds for the same has the same digest."""

    database: Database
    project_id: str
    key: str
    request_sha256: str

    def once(self, create: Callable[[Record[View]], View], answer_of: Callable[[View], Answer]) -> Answer:
        """The answer to what `create` made, now or the first time.

        A request that is refused, or fails, leaves the key free. Raises InvalidRequest and Conflict where the key
        belongs to another request, or to this one while it is in flight.
        """
        if not self._claimed():
            return self._first_answer()
        try:
            return answer_of(create(lambda session, view: self._keep(session, answer_of(view))))
        except _Overtaken:
            return self._first_answer()
        except BaseException:
            self._free()
            raise

    def _claimed(self) -> bool:
        with self.database.transaction() as session:
            at = now(session)
            return idempotency.claim(
                session,
                self.project_id,
                self.key,
                self.request_sha256,
                at=at,
                abandoned_before=at - ABANDONED_AFTER,
                expired_before=at - KEPT_FOR,
            )

    def _keep(self, session: Session, answer: Answer) -> None:
        kept = idempotency.answer(
            session,
            self.project_id,
            self.key,
            self.request_sha256,
            at=now(session),
            status_code=answer.status_code,
            headers=answer.headers,
            body=answer.body,
        )
        if not kept:
            raise _Overtaken

    def _first_answer(self) -> Answer:
        with self.database.reading() as session:
            row = idempotency.get(session, self.project_id, self.key)
        if row is not None and row.request_sha256 != self.request_sha256:
            raise InvalidRequest(
                f"The Idempotency-Key {self.key!r} was used for another request. A key stands for one request: "
                "take a new one, or send the same body to the same address.",
                code=ErrorCode.IDEMPOTENCY_KEY_REUSED,
            )
        if row is None or row.status_code is None:
            raise Conflict(
                f"The first request with the Idempotency-Key {self.key!r} is still being answered. "
                "Send this one again in a moment.",
                code=ErrorCode.IDEMPOTENCY_KEY_IN_FLIGHT,
                retry_after_seconds=IN_FLIGHT_SECONDS,
            )
        return Answer(row.status_code, row.headers or {}, row.body or "", replayed=True)

    def _free(self) -> None:
        """Where the database does not answer, the claim is passed over once it is old."""
        try:
            with self.database.transaction() as session:
                idempotency.free(session, self.project_id, self.key, self.request_sha256)
        except SQLAlchemyError as error:
            _log.warning("idempotency_key_not_freed", error=str(error))
