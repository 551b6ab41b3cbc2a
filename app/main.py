"""The composition root of the api process: `uvicorn app.main:app`."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from fastapi import FastAPI

from app.api import datasets, events, inference, jobs, models
from app.api.auth import Gate
from app.api.deps import Services
from app.api.errors import install_error_handlers
from app.api.stopping import when_told_to_stop
from app.db.session import Database
from app.dispatch import Dispatcher
from app.inference_client import InferenceClient
from app.processes import ChildStarter
from app.records.pool import ValidatorPool
from app.services.authentication import Authenticator
from app.services.jobs.feed import EventFeed
from app.services.keys import Keys, secure
from app.services.uploads import sweep, uploads_folder
from app.settings import Settings
from app.storage import FolderStore

ROUTERS = (datasets.router, jobs.router, events.router, inference.router, models.router)


def create_app(settings: Settings | None = None) -> FastAPI:
    app = FastAPI(title="Pretune", lifespan=_lifespan(settings or Settings()))
    install_error_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with _services(settings) as services:
            app.state.services = services
            with when_told_to_stop(services.events.end):
                yield
            services.inference.close()

    return lifespan


@contextmanager
def _services(settings: Settings) -> Iterator[Services]:
    """Everything that a process holds, and its end in reverse order."""
    sweep(uploads_folder(settings))
    database = Database(settings.resolved_database_url)
    secure(database, settings)
    validators = ValidatorPool(
        ChildStarter(), memory_bytes=settings.validator_memory_bytes, timeout_seconds=settings.validator_seconds
    )
    dispatcher, events = Dispatcher(settings), EventFeed(database)
    validators.warm()
    try:
        yield Services(
            settings=settings,
            database=database,
            store=FolderStore(settings.artifacts_dir),
            dispatcher=dispatcher,
            inference=InferenceClient(database, settings),
            validators=validators,
            events=events,
            gate=Gate(settings, Authenticator(Keys(database))),
        )
    finally:
        events.close()
        validators.close()
        dispatcher.close()
        database.dispose()


app = create_app()
