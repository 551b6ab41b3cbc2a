"""What Prometheus may ask of one api process: its requests by route and status, and the jobs of the whole service.

Routes are told by template, never by path, so that ids make no series.
"""

from typing import Annotated

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

from app.api.auth import get_observer
from app.api.deps import Services, get_services
from app.contract.job import JobStatus
from app.contract.scopes import Scope
from app.db import jobs

#: From a cheap answer to a large upload.
BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)

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
    """Figures of this process and of all jobs, in Prometheus' text format."""
    metrics: RequestMetrics = request.app.state.metrics
    content = generate_latest(metrics.registry) + generate_latest(_job_registry(services))
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _job_registry(services: Services) -> CollectorRegistry:
    """Counted when asked: every process of the service tells the same."""
    registry = CollectorRegistry()
    gauge = Gauge("pretune_jobs", "Jobs of all projects, by status.", ("status",), registry=registry)
    with services.database.reading() as session:
        counts = jobs.count_by_status(session)
    for status in JobStatus:
        gauge.labels(status).set(counts.get(status, 0))
    return registry
