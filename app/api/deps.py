"""What handlers are given: the process's services, and who calls."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security

from app.api.auth import Caller, Gate, get_caller
from app.contract.scopes import Scope
from app.db.session import Database
from app.dispatch import Dispatcher
from app.inference_client import InferenceClient
from app.records.pool import ValidatorPool
from app.services.jobs.feed import EventFeed
from app.settings import Settings
from app.storage import ArtifactStore

__all__ = ["Admin", "Asker", "Caller", "Reader", "Services", "Writer", "get_services"]

#: Whoever calls, with the scope that the route asks for.
Reader = Annotated[Caller, Security(get_caller, scopes=[Scope.READ])]
Writer = Annotated[Caller, Security(get_caller, scopes=[Scope.WRITE])]
Asker = Annotated[Caller, Security(get_caller, scopes=[Scope.PREDICT])]
Admin = Annotated[Caller, Security(get_caller, scopes=[Scope.ADMIN])]


@dataclass(frozen=True, slots=True)
class Services:
    """One of each for the whole process, made and ended by `app.main`."""

    settings: Settings
    database: Database
    store: ArtifactStore
    dispatcher: Dispatcher
    inference: InferenceClient
    validators: ValidatorPool
    events: EventFeed
    gate: Gate


async def get_services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
