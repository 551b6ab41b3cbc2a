"""`/v1/keys`: the keys of a project, for its admins. `pretune keys` is the operator's, and for every project."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from app.api.creation import IN_FLIGHT, AdminsCreation
from app.api.deps import Admin, Services, get_services
from app.contract.base import Contract, PlainText
from app.contract.scopes import Scope
from app.services.idempotency import Record
from app.services.keys import MAX_DAYS, MAX_NAME_LENGTH, CreatedKey, KeyPage, Keys, KeyView, NamedScope
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter(prefix="/v1/keys", tags=["keys"])

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "This project has no such key."}}


class KeyRequest(Contract):
    name: Annotated[PlainText, Field(min_length=1, max_length=MAX_NAME_LENGTH, description="What it is for.")] = "key"
    scopes: Annotated[list[NamedScope], Field(min_length=1, max_length=len(Scope))]
    expires_days: Annotated[int | None, Field(ge=1, le=MAX_DAYS, description="For good where not given.")] = None


class NewKeyView(KeyView):
    """`key` is the text to send as a Bearer token. It is kept nowhere, and null where an `Idempotency-Key` is repeated:
    then delete this key and make another.
    """

    key: str | None


async def get_keys(services: Annotated[Services, Depends(get_services)]) -> Keys:
    return Keys(services.database)


KeysService = Annotated[Keys, Depends(get_keys)]
KeyId = Annotated[PlainText, Path(max_length=64)]


@router.post("", status_code=HTTPStatus.CREATED, response_model=NewKeyView, responses=IN_FLIGHT)
def create_key(body: KeyRequest, keys: KeysService, creation: AdminsCreation) -> Response:
    """Make a key of this project. Its text is in this answer and nowhere else."""

    def create(record: Record[NewKeyView] | None) -> NewKeyView:
        project_id, recorded = creation.caller.project_id, _without_text(record)
        return _told(keys.create(project_id, body.name, body.expires_days, body.scopes, recorded))

    return creation.answer(create, status=HTTPStatus.CREATED, collection="/v1/keys", asked=body.model_dump(mode="json"))


@router.get("")
def list_keys(
    caller: Admin,
    keys: KeysService,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> KeyPage:
    """The project's keys, the newest first, those revoked and expired too."""
    return keys.page(caller.project_id, cursor, limit)


@router.get("/{key_id}", responses=NOT_FOUND)
def get_key(key_id: KeyId, caller: Admin, keys: KeysService) -> KeyView:
    """One key, without its text."""
    return keys.get(caller.project_id, key_id)


@router.delete("/{key_id}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def revoke_key(key_id: KeyId, caller: Admin, keys: KeysService) -> None:
    """Refuse a key for good, within seconds. It stays in the list."""
    keys.revoke_in(caller.project_id, key_id)


def _told(created: CreatedKey) -> NewKeyView:
    return NewKeyView(key=created.text, **dict(created.view))


def _without_text(record: Record[NewKeyView] | None) -> Record[KeyView] | None:
    """What answers a repetition is kept in the database, and no key that opens anything may be there."""
    if record is None:
        return None
    return lambda session, view: record(session, NewKeyView(key=None, **dict(view)))
