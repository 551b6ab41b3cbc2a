"""The composition root of the api process: `uvicorn app.main:app`."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig

from app.api import (
    batch_prediction,
    datasets,
    evaluations,
    events,
    inference,
    jobs,
    keys,
    methods,
    metrics,
    models,
    quota,
    service,
    sweeps,
    webhooks,
    workers,
)
from app.api.auth import Gate
from app.api.deps import Services
from app.api.direct import Direct
from app.api.docs import mount_docs
from app.api.errors import install_error_handlers
from app.api.metrics import RequestMetrics
from app.api.openai import ROUTERS as OPENAI_ROUTERS
from app.api.openapi import DESCRIPTION, install_schema, operation_id
from app.api.rates import RateLimiter
from app.api.readiness import Readiness
from app.api.requests import PROBES, Requests
from app.api.stopping import when_told_to_stop
from app.api.strict_json import StrictJson
from app.db.session import Database
from app.dispatch import Dispatcher
from app.inference_client import InferenceClient
from app.logging import configure_logging
from app.processes import ChildStarter
from app.records.pool import ValidatorPool
from app.services.authentication import Authenticator
from app.services.jobs.feed import EventFeed
from app.services.keys import Keys, secure
from app.services.uploads import sweep, uploads_folder
from app.settings import Settings
from app.storage import REQUEST_PATIENCE_SECONDS, open_store
from app.tracing import traces
from app.web.dashboard import mount_dashboard
from app.webhooks.courier import Courier

#: A request is compared with their routes one by one: what is asked the most often comes first.
ROUTERS = (
    inference.questions,
    datasets.router,
    jobs.router,
    sweeps.router,
    events.router,
    inference.router,
    batch_prediction.router,
    evaluations.router,
    models.router,
    methods.router,
    workers.router,
    keys.router,
    quota.router,
    webhooks.router,
    service.router,
    metrics.router,
    *OPENAI_ROUTERS,
)
#: Their bodies are forms, which the handlers read as streams.
UPLOADS = ("/v1/datasets", "/v1/models/import", "/openai/v1/files")
#: FastAPI tells a span of each request where `traces` runs; figures are Prometheus' and ours.
_TELEMETRY: TelemetryConfig = {
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
    "exclude": lambda scope: scope["path"] in PROBES,
}


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()
    app = FastAPI(
        title="Pretune",
        version=version("pretune"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operation_id,
        lifespan=_lifespan(settings),
        telemetry=_TELEMETRY,
    )
    app.state.metrics = RequestMetrics()
    for router in ROUTERS:
        app.include_router(router)
    mount_docs(app)
    mount_dashboard(app)
    install_schema(app)
    install_error_handlers(app)
    app.add_middleware(Direct, routes=[route for route in inference.questions.routes if isinstance(route, APIRoute)])
    app.add_middleware(
        StrictJson, max_bytes=settings.max_json_bytes, max_depth=settings.max_json_depth, uploads=UPLOADS
    )
    app.add_middleware(Requests, metrics=app.state.metrics)  # the last is the outermost
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_logging()
        traces.start("api")
        with _services(settings) as services, closing(_readiness(services)) as readiness:
            app.state.services, app.state.readiness = services, readiness
            await readiness.look()  # what does not answer is told in the log
            async with _running(Courier(services.database, settings).run()):
                with when_told_to_stop(services.events.end):
                    yield
            services.inference.close()
            await services.gate.authenticator.close()
        await asyncio.to_thread(traces.stop)

    return lifespan


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Beside the block, and no longer than it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@contextmanager
def _services(settings: Settings) -> Iterator[Services]:
    """Everything that a process holds, and its end in reverse order."""
    sweep(uploads_folder(settings))
    database = Database(settings.resolved_database_url)
    validators = ValidatorPool(
        ChildStarter(), memory_bytes=settings.validator_memory_bytes, timeout_seconds=settings.validator_seconds
    )
    dispatcher, events = Dispatcher(settings), EventFeed(database)
    validators.warm()
    try:
        secure(database, settings)
        yield Services(
            settings=settings,
            database=database,
            store=open_store(settings, REQUEST_PATIENCE_SECONDS),
            dispatcher=dispatcher,
            inference=InferenceClient(database, settings),
            validators=validators,
            events=events,
            gate=Gate(settings, Authenticator(Keys(database)), RateLimiter(settings.resolved_requests_per_second)),
        )
    finally:
        events.close()
        validators.close()
        dispatcher.close()
        database.dispose()


def _readiness(services: Services) -> Readiness:
    return Readiness(services.database, services.store, services.settings)


app = create_app()
gc.freeze()  # else every collection walks what was imported: it made the parsing of a large body five times slower
