"""What handlers are given: the process's services, and who calls."""

from dataclasses import dataclass

from fastapi import Request

from app.api.auth import Caller, Gate, get_caller
from app.db.session import Database
from app.dispatch import Dispatcher
from app.inference_client import InferenceClient
from app.records.pool import ValidatorPool
from app.services.jobs.feed import EventFeed
from app.settings import Settings
from app.storage import ArtifactStore

__all__ = ["Caller", "Services", "get_caller", "get_services"]


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
