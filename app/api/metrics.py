"""What Prometheus may ask of one api process: its requests by route and status, and the state of the whole service.

Routes are told by template, never by path, so that ids make no series; what the service has none of is told as 0.
"""

from datetime import datetime
from itertools import product
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, Request, Response, Security
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from sqlalchemy.orm import Session

from app.api.auth import get_observer
from app.api.deps import Services, get_services
from app.contract.compatibility import METHOD_TRAITS
from app.contract.job import JobStatus
from app.contract.messages import CPU_QUEUE, GPU_QUEUE
from app.contract.scopes import Scope
from app.db import figures
from app.db.outbox import FAILED, PENDING
from app.db.session import now
from app.db.workers import Role, State

#: From a cheap answer to a large upload.
BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
#: Of pretraining and fine-tuning together.
METHODS = sorted({method for _, method in METHOD_TRAITS})

router = APIRouter(tags=["service"])


class RequestMetrics:
    """A registry of its own for each application: two in one process do not count each other's requests."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "pretune_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "pretune_http_request_seconds",
            "Time until the whole answer was sent. Event streams, which last as long as a job, are left out.",
            ("method", "route"),
            buckets=BUCKET_SECONDS,
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float | None) -> None:
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)


@router.get("/metrics", dependencies=[Security(get_observer, scopes=[Scope.READ])], response_class=Response)
def get_metrics(request: Request, services: Annotated[Services, Depends(get_services)]) -> Response:
    """Figures of this process and of the whole service, in Prometheus' text format."""
    metrics: RequestMetrics = request.app.state.metrics
    content = generate_latest(metrics.registry) + generate_latest(_service_registry(services))
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _service_registry(services: Services) -> CollectorRegistry:
    """Counted when asked: every process of the service tells the same."""
    registry = CollectorRegistry()
    with services.database.reading() as session:
        at = now(session)
        _tell_jobs(registry, session)
        _tell_queues(registry, session, at)
        _tell_workers(registry, session, at - services.settings.silence)
        _tell_notices(registry, session, at)
    return registry


def _tell_jobs(registry: CollectorRegistry, session: Session) -> None:
    jobs = Gauge("pretune_jobs", "Jobs of all projects.", ("method", "status"), registry=registry)
    counts, paces = figures.jobs(session), figures.paces(session)
    steps, examples = (
        Gauge(
            f"pretune_running_{unit}_per_second",
            f"{unit.capitalize()} of all running jobs.",
            ("method",),
            registry=registry,
        )
        for unit in ("steps", "examples")
    )
    for method in METHODS:
        for status in JobStatus:
            jobs.labels(method, status).set(counts.get((method, status), 0))
        pace = paces.get(method, figures.Pace(0.0, 0.0))
        steps.labels(method).set(pace.steps_per_second)
        examples.labels(method).set(pace.examples_per_second)


def _tell_queues(registry: CollectorRegistry, session: Session, at: datetime) -> None:
    ages = Gauge(
        "pretune_queue_oldest_job_age_seconds",
        "How long the job that waits longest for a trainer has been queued; 0 where none waits.",
        ("queue",),
        registry=registry,
    )
    since = figures.queued_since(session)
    for queue in (CPU_QUEUE, GPU_QUEUE):
        ages.labels(queue).set(_seconds(since.get(queue), at))


def _tell_workers(registry: CollectorRegistry, session: Session, live_since: datetime) -> None:
    workers = Gauge(
        "pretune_workers", "Trainers and replicas, as their heartbeats tell.", ("role", "state"), registry=registry
    )
    counts = figures.workers(session, live_since)
    for role, state in product(get_args(Role), get_args(State)):
        workers.labels(role, state).set(counts.get((role, state), 0))


def _tell_notices(registry: CollectorRegistry, session: Session, at: datetime) -> None:
    notices = Gauge(
        "pretune_webhook_notices", "Notices to be delivered, or given up as failed.", ("status",), registry=registry
    )
    counts = figures.notices(session)
    for status in (PENDING, FAILED):
        notices.labels(status).set(counts.get(status, 0))
    age = Gauge(
        "pretune_webhook_oldest_notice_age_seconds",
        "Age of the oldest notice that is still to be delivered; 0 where none is.",
        registry=registry,
    )
    age.set(_seconds(figures.undelivered_since(session), at))


def _seconds(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())
