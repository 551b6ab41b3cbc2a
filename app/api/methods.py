"""`/v1/methods`: what jobs can be asked for, and in which words."""

from typing import Any

from fastapi import APIRouter, Security

from app.api.auth import get_caller
from app.contract.scopes import Scope
from app.services.methods import MethodList, all_methods, schema_of

_READERS = [Security(get_caller, scopes=[Scope.READ])]
router = APIRouter(prefix="/v1/methods", tags=["methods"], dependencies=_READERS)


@router.get("")
async def list_methods() -> MethodList:
    """Every method: its architectures, the data sets and parents that it takes, and its defaults."""
    return all_methods()


@router.get("/{kind}/{type}/schema")
async def get_method_schema(kind: str, type: str) -> dict[str, Any]:  # noqa: A002  the contract's name
    """The JSON Schema of the body of `POST /v1/jobs` for one method."""
    return schema_of(kind, type)
