"""The page of a new job: its form is made in the browser, from the method's own schema."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from app.contract.base import PlainText
from app.contract.compatibility import DATASET_KIND_COVERS
from app.contract.job import TERMINAL, JobStatus
from app.contract.specs.job import TRAINING_KINDS
from app.services.datasets import Datasets, DatasetView
from app.services.jobs import JobFilters, Jobs, JobView
from app.services.methods import all_methods
from app.services.models import Models
from app.services.models.views import ModelView
from app.services.paging import MAX_LIMIT
from app.web.jobs import CLONED_FROM
from app.web.rendering import render
from app.web.sweeps import sweeps_of
from app.web.visitors import PageRoute, ThisVisitor, Visitor

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Wish = Annotated[PlainText | None, Query(max_length=200)]


@router.get("/jobs/new")
def show_new_job(
    *,
    request: Request,
    visitor: ThisVisitor,
    dataset: Wish = None,
    parent: Wish = None,
    checkpoint: Wish = None,
    clone: Wish = None,
    sweep: Wish = None,
    trial: Annotated[int, Query(ge=0)] = 0,
) -> HTMLResponse:
    """`dataset` and `parent` stand in the form from the start; `clone`, or a `trial` of a `sweep`, fills all of it."""
    services, project_id = visitor.services, visitor.project_id
    jobs = Jobs(services.database, services.dispatcher, services.settings)
    models = (
        Models(services.database, services.store, services.settings).page(project_id, cursor=None, limit=MAX_LIMIT).data
    )
    datasets = Datasets(services.database, services.store, services.validators).page(project_id, None, MAX_LIMIT).data
    unfinished = JobFilters(statuses=tuple(set(JobStatus) - TERMINAL), kinds=TRAINING_KINDS)
    state: dict[str, Any] = {
        "methods": all_methods().data,
        "datasets": [_dataset(each) for each in datasets],
        "models": [_model(each) for each in models],
        "jobs": [_job(each) for each in jobs.page(project_id, unfinished, None, MAX_LIMIT).data],
        "covers": {wanted: sorted(actual) for wanted, actual in DATASET_KIND_COVERS.items()},
        "dataset": dataset,
        "parent": parent,
        "checkpoint": checkpoint,
        "filled": _filled(visitor, jobs, clone, sweep, trial),
        "has_key": visitor.has_key,
    }
    return render(request, "new_job.html", state=state, has_datasets=bool(datasets))


def _filled(visitor: Visitor, jobs: Jobs, clone: str | None, sweep: str | None, trial: int) -> dict[str, Any] | None:
    """A spec for the form, and metadata that say where it comes from."""
    if clone:
        return {"spec": jobs.get(visitor.project_id, clone).spec, "metadata": {CLONED_FROM: clone}}
    if sweep:
        spec = sweeps_of(visitor).job_of_trial(visitor.project_id, sweep, trial)
        return {"spec": spec, "metadata": {"sweep": sweep, "trial": str(trial)}}
    return None


def _dataset(dataset: DatasetView) -> dict[str, Any]:
    return dataset.model_dump(include={"id", "name", "kind", "num_examples"})


def _model(model: ModelView) -> dict[str, Any]:
    told = model.model_dump(mode="json", include={"id", "name", "method", "granularity", "job_id", "aliases"})
    return told | {"input": model.input.kind.value}


def _job(job: JobView) -> dict[str, Any]:
    return job.model_dump(mode="json", include={"id", "name", "method", "status", "dataset_id", "kind"})
