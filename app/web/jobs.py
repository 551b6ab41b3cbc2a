"""Pages of jobs: the table at `/`, one job, several beside each other."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.contract.errors import InvalidRequest, NotFound
from app.contract.job import JobStatus
from app.services.datasets import Datasets
from app.services.jobs import Jobs, JobView
from app.services.jobs.events import JobEvents
from app.services.jobs.results import JobResults
from app.services.jobs.table import JobTable, SortKey, TableFilters, TablePage
from app.services.models import Models
from app.web.lineage import Ancestry
from app.web.rendering import render
from app.web.visitors import PageRoute, ThisVisitor, Visitor

PAGE_SIZE = 50
EVENTS_SHOWN = 200
MAX_COMPARED = 20
#: The metadata that a clone carries.
CLONED_FROM = "cloned_from"

S = JobStatus
Group = Literal["active", "paused", "succeeded", "failed", "cancelled"]
GROUPS: dict[Group, tuple[JobStatus, ...]] = {
    "active": (S.WAITING, S.QUEUED, S.RUNNING, S.PAUSING, S.CANCELLING),
    "paused": (S.PAUSED,),
    "succeeded": (S.SUCCEEDED,),
    "failed": (S.FAILED,),
    "cancelled": (S.CANCELLED,),
}

router = APIRouter(include_in_schema=False, route_class=PageRoute)


@dataclass(frozen=True, slots=True)
class TableState:
    """What the address says of the table."""

    status: Group | None
    method: str | None
    q: str | None
    sweep: str | None
    sort: SortKey
    order: Literal["asc", "desc"]
    page: int

    @property
    def filters(self) -> TableFilters:
        return TableFilters(GROUPS[self.status] if self.status else (), self.method, None, self.q, self.sweep)

    def link(self, **changes: Any) -> str:
        """The same table with something else; whatever changes, its first page. Defaults are not told."""
        state: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__} | {"page": 1} | changes
        told = {name: value for name, value in state.items() if value is not None and value != _DEFAULTS.get(name)}
        return f"/?{urlencode(told)}" if told else "/"

    def sorted_by(self, key: SortKey) -> str:
        """Once more for the other way."""
        first: Literal["asc", "desc"] = "desc" if key in {"created", "finished"} else "asc"
        other = "asc" if self.order == "desc" else "desc"
        return self.link(sort=key, order=other if key == self.sort else first)


_DEFAULTS = {"sort": "created", "order": "desc", "page": 1}


async def get_state(
    *,
    status: Group | Literal[""] | None = None,
    method: Annotated[PlainText | None, Query(max_length=64)] = None,
    q: Annotated[PlainText | None, Query(max_length=200)] = None,
    sweep: Annotated[PlainText | None, Query(max_length=64)] = None,
    sort: SortKey = "created",
    order: Literal["asc", "desc"] = "desc",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> TableState:
    """A form sends what is left empty too."""
    return TableState(status or None, method or None, q or None, sweep or None, sort, order, page)


JobId = Annotated[PlainText, Path(max_length=64)]
State = Annotated[TableState, Depends(get_state)]


@router.get("/")
def show_jobs(request: Request, visitor: ThisVisitor, state: State) -> HTMLResponse:
    return render(request, "jobs.html", state=state, groups=GROUPS, size=PAGE_SIZE, table=_table(visitor, state))


@router.get("/jobs/table")
def show_table(request: Request, visitor: ThisVisitor, state: State) -> HTMLResponse:
    """The part of the page that lives."""
    return render(request, "_jobs.html", state=state, groups=GROUPS, size=PAGE_SIZE, table=_table(visitor, state))


@router.get("/jobs/{job_id}")
def show_job(request: Request, visitor: ThisVisitor, job_id: JobId) -> HTMLResponse:
    services, project_id = visitor.services, visitor.project_id
    told = JobEvents(services.database, services.events).told(project_id, job_id, EVENTS_SHOWN)
    jobs, models = _jobs(visitor), Models(services.database, services.store, services.settings)
    job = jobs.get(project_id, job_id)
    results = JobResults(services.database, services.store)
    state = {
        "job": job,
        "last_event_id": told.last_id,
        "events": told.events,
        "checkpoints": results.checkpoints(project_id, job_id).data,
        "artifacts": results.artifacts(project_id, job_id).data,
        "against": _compared_with(jobs, models, project_id, job),
    }
    datasets = Datasets(services.database, services.store, services.validators)
    lineage = Ancestry(jobs, models, datasets, project_id).of_job(job)
    return render(request, "job.html", job=job, lineage=lineage, state=state)


@router.get("/compare")
def compare_jobs(
    request: Request, visitor: ThisVisitor, job: Annotated[list[PlainText] | None, Query(max_length=200)] = None
) -> HTMLResponse:
    wanted = list(dict.fromkeys(job or ()))
    if len(wanted) > MAX_COMPARED:
        raise InvalidRequest(f"{len(wanted)} jobs are asked for; {MAX_COMPARED} at most stand beside each other.")
    found = [_jobs(visitor).get(visitor.project_id, job_id) for job_id in wanted]
    return render(request, "compare.html", jobs=found, state={"jobs": found})


def _jobs(visitor: Visitor) -> Jobs:
    services = visitor.services
    return Jobs(services.database, services.dispatcher, services.settings)


def _table(visitor: Visitor, state: TableState) -> TablePage:
    return JobTable(visitor.services.database, visitor.services.settings).page(
        visitor.project_id,
        state.filters,
        sort=state.sort,
        descending=state.order == "desc",
        number=state.page,
        size=PAGE_SIZE,
    )


def _compared_with(jobs: Jobs, models: Models, project_id: str, job: JobView) -> JobView | None:
    """The job that this one was cloned from, or else the one that made its parent."""
    other = job.metadata.get(CLONED_FROM)
    try:
        if other is None and job.parent_model_id is not None:
            other = models.get(project_id, job.parent_model_id).job_id
        other = other or job.parent_job_id
        return jobs.get(project_id, other) if other else None
    except NotFound:
        return None
