"""`/v1/quota`: what the caller's project takes up, and may."""

from typing import Annotated

from fastapi import APIRouter, Depends

from app.api.deps import Reader, Services, get_services
from app.services.quotas import Quotas, QuotaView

router = APIRouter(prefix="/v1/quota", tags=["service"])


async def get_quotas(services: Annotated[Services, Depends(get_services)]) -> Quotas:
    return Quotas(services.database, services.settings)


@router.get("")
def get_quota(caller: Reader, quotas: Annotated[Quotas, Depends(get_quotas)]) -> QuotaView:
    """The project's jobs and stored bytes, beside its limits. Beyond one, calls are answered 429."""
    return quotas.view(caller.project_id)
