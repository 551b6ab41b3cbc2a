"""`/openai/v1/fine_tuning/jobs`: jobs of every kind that trains. The files beside this translate."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.datasets import get_datasets
from app.api.deps import Reader, Writer
from app.api.events import get_job_events
from app.api.jobs import NOT_FOUND, WRONG_STATE, JobId, get_filters, get_jobs, get_results
from app.api.openai.conventions import PREFIX, ItemList, locations, recorded_as
from app.api.openai.fine_tuning_requests import FineTuningRequest, spec_of
from app.api.openai.fine_tuning_views import (
    FineTuningCheckpoint,
    FineTuningEvent,
    FineTuningJob,
    checkpoint_of,
    event_of,
    job_of,
    step_of,
)
from app.contract.base import PlainText
from app.contract.errors import NotFound
from app.contract.specs.job import TRAINING_KINDS
from app.services.datasets import Datasets
from app.services.jobs import JobFilters, Jobs, JobView
from app.services.jobs.events import JobEvents
from app.services.jobs.results import JobResults

router = APIRouter(prefix=f"{PREFIX}/fine_tuning/jobs", tags=["openai"])

DEFAULT_JOBS, DEFAULT_EVENTS, DEFAULT_CHECKPOINTS, MAX_ITEMS = 20, 20, 10, 200

JobsService = Annotated[Jobs, Depends(get_jobs)]
After = Annotated[PlainText | None, Query(max_length=128, description="The last id of the page before.")]


async def get_metadata(request: Request) -> dict[str, str]:
    """`metadata[key]=value`, which no signature can name."""
    return {
        name.removeprefix("metadata[").removesuffix("]"): value.replace("\0", "")
        for name, value in request.query_params.items()
        if name.startswith("metadata[")
    }


@router.post("", response_model=FineTuningJob, responses=IN_FLIGHT)
def create_openai_job(
    body: FineTuningRequest,
    jobs: JobsService,
    datasets: Annotated[Datasets, Depends(get_datasets)],
    creation: ThisCreation,
) -> Response:
    """Ask for a job. Fields of `POST /v1/jobs` come by `extra_body`, with `kind: pretrain` for a pretraining."""
    project_id = creation.caller.project_id
    body.refuse_unknown()
    asked = spec_of(body, lambda dataset_id: datasets.get(project_id, dataset_id).kind)

    def told(view: JobView) -> FineTuningJob:
        return job_of(view, project_id)

    with locations(asked.names):
        return creation.answer(
            lambda record: told(jobs.submit(project_id, asked.spec, recorded_as(record, told))),
            status=HTTPStatus.OK,
            collection=f"{PREFIX}/fine_tuning/jobs",
            asked=[asked.spec.model_dump(mode="json"), asked.spec.webhook and asked.spec.webhook.secret],
        )


@router.get("")
def list_openai_jobs(
    *,
    caller: Reader,
    jobs: JobsService,
    filters: Annotated[JobFilters, Depends(get_filters)],
    metadata: Annotated[dict[str, str], Depends(get_metadata)],
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = DEFAULT_JOBS,
    after: After = None,
) -> ItemList[FineTuningJob]:
    """The project's jobs that train, the newest first. `metadata[<key>]=<value>` filters by metadata; the filters of
    `GET /v1/jobs` come by `extra_query`.
    """
    kinds = [kind for kind in TRAINING_KINDS if filters.kinds is None or kind in filters.kinds]
    wanted = replace(filters, kinds=kinds, metadata={**filters.metadata, **metadata})
    with locations({"cursor": "after"}):
        page = jobs.page(caller.project_id, wanted, after, limit)
    return ItemList(data=[job_of(view, caller.project_id) for view in page.data], has_more=page.next_cursor is not None)


@router.get("/{job_id}", responses=NOT_FOUND)
def get_openai_job(job_id: JobId, caller: Reader, jobs: JobsService) -> FineTuningJob:
    """One job: what was asked for, how far it is, and what came of it."""
    return job_of(_that_trains(jobs, caller.project_id, job_id), caller.project_id)


@router.post("/{job_id}/cancel", responses=WRONG_STATE)
def cancel_openai_job(job_id: JobId, caller: Writer, jobs: JobsService) -> FineTuningJob:
    """Stop a job for good."""
    job = _that_trains(jobs, caller.project_id, job_id)
    return job_of(jobs.cancel(caller.project_id, job.id), caller.project_id)


@router.post("/{job_id}/pause", responses=WRONG_STATE)
def pause_openai_job(job_id: JobId, caller: Writer, jobs: JobsService) -> FineTuningJob:
    """Stop a job behind a checkpoint until it is resumed."""
    job = _that_trains(jobs, caller.project_id, job_id)
    return job_of(jobs.pause(caller.project_id, job.id), caller.project_id)


@router.post("/{job_id}/resume", responses=WRONG_STATE)
def resume_openai_job(job_id: JobId, caller: Writer, jobs: JobsService) -> FineTuningJob:
    """Queue a paused job again."""
    job = _that_trains(jobs, caller.project_id, job_id)
    return job_of(jobs.resume(caller.project_id, job.id), caller.project_id)


@router.get("/{job_id}/events", responses=NOT_FOUND)
def list_openai_job_events(
    *,
    job_id: JobId,
    caller: Reader,
    jobs: JobsService,
    events: Annotated[JobEvents, Depends(get_job_events)],
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = DEFAULT_EVENTS,
    after: After = None,
) -> ItemList[FineTuningEvent]:
    """What has happened to a job, the newest first."""
    with locations({"cursor": "after"}):
        page = events.newest(caller.project_id, _that_trains(jobs, caller.project_id, job_id).id, after, limit)
    return ItemList(data=[event_of(view) for view in page.data], has_more=page.next_cursor is not None)


@router.get("/{job_id}/checkpoints", responses=NOT_FOUND)
def list_openai_job_checkpoints(
    *,
    job_id: JobId,
    caller: Reader,
    jobs: JobsService,
    results: Annotated[JobResults, Depends(get_results)],
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = DEFAULT_CHECKPOINTS,
    after: After = None,
) -> ItemList[FineTuningCheckpoint]:
    """The checkpoints that a job keeps, the newest first."""
    with locations({"cursor": "after"}):
        below = step_of(after)
    job = _that_trains(jobs, caller.project_id, job_id)
    kept = results.checkpoints(caller.project_id, job.id).data[::-1]
    rest = [checkpoint_of(view, job.id) for view in kept if below is None or view.step < below]
    return ItemList(data=rest[:limit], has_more=len(rest) > limit)


def _that_trains(jobs: Jobs, project_id: str, job_id: str) -> JobView:
    """This API knows no jobs but those. Raises NotFound."""
    view = jobs.get(project_id, job_id)
    if view.kind not in TRAINING_KINDS:
        raise NotFound(f"The job {job_id} is no fine-tuning job, but a {view.kind}. It stands at /v1/jobs/{job_id}.")
    return view
