"""API keys: made, listed, revoked, looked up. Of a key only its SHA-256 is kept, and the prefix that finds it."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field
from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import FieldError, InvalidRequest, NotFound
from app.contract.scopes import Scope
from app.db import keys, projects
from app.db.ids import new_id
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, ApiKeyRow
from app.services.idempotency import Record
from app.services.paging import cut, id_before
from app.settings import Settings

SECRET_BYTES = 32
#: Stands in paths of artifacts, so no more is allowed than is needed.
PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MAX_NAME_LENGTH = 200
MAX_DAYS = 36_500
USED_EVERY = timedelta(minutes=1)

_OURS = re.compile(r"(pt_[0-9a-f]{12})_.+", re.DOTALL)
#: Of the one key whose text is the operator's own.
BOOTSTRAP_PREFIX = "bootstrap"
MIN_BOOTSTRAP_LENGTH = 16


class NotSecured(Exception):
    """Others than this machine can reach the service, and no key keeps them out. The message names the remedy."""


class Presented(NamedTuple):
    """A key as somebody presents it. The text itself is not kept, not even in memory."""

    prefix: str
    sha256: str

    @classmethod
    def of(cls, text: str) -> Self:
        ours = _OURS.fullmatch(text)
        return cls(ours[1] if ours else BOOTSTRAP_PREFIX, hashlib.sha256(text.encode()).hexdigest())


#: By its name, as bodies and rows have it.
NamedScope = Annotated[Scope, Field(strict=False)]


class KeyView(Contract):
    id: str
    project_id: str
    name: str
    prefix: str
    scopes: list[NamedScope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyPage(Contract):
    data: list[KeyView]
    next_cursor: str | None


class CreatedKey(NamedTuple):
    """`text` is told here and never again."""

    view: KeyView
    text: str


@dataclass(frozen=True, slots=True)
class Keys:
    database: Database

    def create(
        self,
        project_id: str = DEFAULT_PROJECT_ID,
        name: str = "key",
        expires_days: int | None = None,
        scopes: Collection[Scope] = (Scope.ADMIN,),
        record: Record[KeyView] | None = None,
    ) -> CreatedKey:
        """A key of the project, which is made where it is new. Raises InvalidRequest. `record` as in `Jobs.submit`; it
        is never told the text.
        """
        _check(project_id, name, expires_days, scopes)
        prefix = f"pt_{secrets.token_hex(6)}"
        text = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
        with self.database.transaction() as session:
            at = now(session)
            projects.ensure(session, project_id, at)
            row = ApiKeyRow(**_columns(project_id, name, scopes, Presented.of(text), at))
            row.expires_at = None if expires_days is None else at + timedelta(days=expires_days)
            keys.insert(session, row)
            if record is not None:
                record(session, _view(row))
        return CreatedKey(_view(row), text)

    def bootstrap(self, text: str) -> bool:
        """Make a key of the operator's own text, unless a key was ever made; whether it was made."""
        with self.database.transaction() as session:
            admin, presented = (Scope.ADMIN,), Presented.of(text)
            columns = _columns(DEFAULT_PROJECT_ID, "bootstrap", admin, presented, now(session))
            return keys.insert_first(session, columns)

    def list_of(self, project_id: str | None = None) -> list[KeyView]:
        """Revoked and expired ones too; of every project where none is named."""
        with self.database.reading() as session:
            return [_view(row) for row in keys.list_of(session, project_id)]

    def page(self, project_id: str, cursor: str | None, limit: int) -> KeyPage:
        """Revoked and expired ones too, the newest first."""
        with self.database.reading() as session:
            before_id = id_before(cursor, "key")
            rows, next_cursor = cut(keys.page(session, project_id, before_id=before_id, limit=limit + 1), limit)
        return KeyPage(data=[_view(row) for row in rows], next_cursor=next_cursor)

    def get(self, project_id: str, key_id: str) -> KeyView:
        with self.database.reading() as session:
            return _view(_of_project(session, project_id, key_id))

    def revoke_in(self, project_id: str, key_id: str) -> None:
        """For good; a repetition changes nothing. Raises NotFound."""
        with self.database.transaction() as session:
            _revoke(session, _of_project(session, project_id, key_id))

    def revoke(self, key: str) -> KeyView:
        """Of whatever project, by its id, its prefix or its text; for good. Raises NotFound."""
        with self.database.transaction() as session:
            row = keys.find(session, key) or _of_text(session, key)
            if row is None:
                raise NotFound(f"There is no key {key!r}. `pretune keys list` shows the ids.")
            _revoke(session, row)
        return _view(row)

    def any_made(self) -> bool:
        with self.database.reading() as session:
            return keys.any_made(session)

    def any_usable(self) -> bool:
        with self.database.reading() as session:
            return keys.any_usable(session, now(session))

    def authenticate(self, presented: Collection[Presented]) -> Mapping[Presented, KeyView]:
        """The keys among those presented, in one look; who is not in it is unknown, revoked or expired."""
        with self.database.reading() as session:
            rows = {row.prefix: row for row in keys.usable(session, {one.prefix for one in presented}, now(session))}
        return {one: _view(row) for one in presented if (row := rows.get(one.prefix)) and _same(one, row)}

    def mark_used(self, found: Collection[KeyView]) -> None:
        """Remember when the keys were last used, to the minute: most calls write nothing."""
        at = datetime.now(UTC)
        if due := [key.id for key in found if key.last_used_at is None or key.last_used_at < at - USED_EVERY]:
            with self.database.transaction() as session:
                keys.mark_used(session, due, at)


def secure(database: Database, settings: Settings) -> None:
    """Make the bootstrap key where it is asked for. Raises NotSecured where the service must not start.

    Any number of processes may do so at once.
    """
    known = Keys(database)
    if text := settings.bootstrap_key and settings.bootstrap_key.get_secret_value():
        if len(text) < MIN_BOOTSTRAP_LENGTH:
            raise NotSecured(
                f"PRETUNE_BOOTSTRAP_KEY has {len(text)} characters, and {MIN_BOOTSTRAP_LENGTH} are the least. "
                "Take a long random value: openssl rand -hex 32"
            )
        known.bootstrap(text)
    if not settings.on_loopback and not known.any_usable():
        raise NotSecured(
            f"Others than this machine can reach {settings.host}, and there is no key to keep them out. "
            "Make one with `pretune keys create`, or set PRETUNE_BOOTSTRAP_KEY, or listen on 127.0.0.1."
        )


def _check(project_id: str, name: str, expires_days: int | None, scopes: Collection[Scope]) -> None:
    if not PROJECT_ID.fullmatch(project_id):
        raise _refused(
            "project", f"{project_id!r} cannot be a project: that is up to 63 of a-z, 0-9 and -, and starts with no -."
        )
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise _refused(
            "name", f"{name[:60]!r} cannot be a key's name: that is 1 to {MAX_NAME_LENGTH} visible characters."
        )
    if expires_days is not None and not 0 < expires_days <= MAX_DAYS:
        message = f"A key cannot expire after {expires_days} days: 1 to {MAX_DAYS:,} can be given."
        raise _refused("expires_days", message)
    if not scopes:
        raise _refused("scopes", f"A key without scopes opens nothing: give some of {', '.join(Scope)}.")


def _refused(location: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, errors=[FieldError(location=location, message=message)])


def _of_project(session: Session, project_id: str, key_id: str) -> ApiKeyRow:
    row = keys.get(session, project_id, key_id)
    if row is None:
        raise NotFound(f"There is no key {key_id!r}.")
    return row


def _of_text(session: Session, text: str) -> ApiKeyRow | None:
    """Every text that is none of ours has the prefix of the operator's own key, and is not it for that."""
    presented = Presented.of(text)
    row = keys.find(session, presented.prefix)
    return row if row is not None and _same(presented, row) else None


def _revoke(session: Session, row: ApiKeyRow) -> None:
    row.revoked_at = row.revoked_at or now(session)


def _columns(
    project_id: str, name: str, scopes: Collection[Scope], presented: Presented, at: datetime
) -> dict[str, Any]:
    return {
        "id": new_id("key"),
        "project_id": project_id,
        "name": name,
        "scopes": [scope.value for scope in Scope if scope in scopes],
        "created_at": at,
        **presented._asdict(),
    }


def _same(presented: Presented, row: ApiKeyRow) -> bool:
    return hmac.compare_digest(presented.sha256, row.sha256)


def _view(row: ApiKeyRow) -> KeyView:
    return KeyView.model_validate({name: getattr(row, name) for name in KeyView.model_fields})
