"""`/v1/workers`: the processes that train and answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from app.api.deps import Reader, Services, get_services
from app.contract.base import PlainText
from app.db.workers import State
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT
from app.services.workers import WorkerPage, Workers

router = APIRouter(prefix="/v1/workers", tags=["service"])


async def get_workers(services: Annotated[Services, Depends(get_services)]) -> Workers:
    return Workers(services.database, services.settings)


@router.get("")
def list_workers(
    *,
    caller: Reader,
    workers: Annotated[Workers, Depends(get_workers)],
    state: Annotated[State | None, Query(description="All, if not given.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: Annotated[PlainText | None, Query(max_length=64)] = None,
) -> WorkerPage:
    """The trainers and the inference replicas, the newest first, with what each does now."""
    return workers.page(caller.project_id, state=state, cursor=cursor, limit=limit)
