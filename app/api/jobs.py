"""`/v1/jobs`: asking for jobs, steering them, and what they leave behind. Their events stand in `app.api.events`."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.api.downloads import as_download
from app.contract.base import PlainText
from app.contract.errors import FieldError, InvalidRequest
from app.contract.job import JobStatus
from app.contract.specs import JobSpec, TrainingSpec
from app.services.deletion import Deletion
from app.services.estimate import Estimate, Estimates
from app.services.jobs import JobFilters, JobPage, Jobs, JobView
from app.services.jobs.deletion import JobDeletion
from app.services.jobs.results import ArtifactList, CheckpointList, JobResults, MetricSeriesList
from app.services.models import Models, ModelView
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

METADATA_PREFIX = "metadata."

Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: Responses = {404: {"description": "This project has no such job, or the job no such thing."}}
WRONG_STATE: Responses = NOT_FOUND | {409: {"description": "The job is in a state that this cannot be asked of."}}


async def get_jobs(services: Annotated[Services, Depends(get_services)]) -> Jobs:
    return Jobs(services.database, services.dispatcher, services.settings)


async def get_estimates(services: Annotated[Services, Depends(get_services)]) -> Estimates:
    return Estimates(services.database, services.settings)


async def get_results(services: Annotated[Services, Depends(get_services)]) -> JobResults:
    return JobResults(services.database, services.store)


async def get_deletion(services: Annotated[Services, Depends(get_services)]) -> JobDeletion:
    return JobDeletion(services.database, services.store)


async def get_models(services: Annotated[Services, Depends(get_services)]) -> Models:
    return Models(services.database, services.store, services.settings)


async def get_filters(
    request: Request,
    *,
    status: Annotated[list[JobStatus] | None, Query(description="One or several.")] = None,
    kind: Annotated[PlainText | None, Query(max_length=200)] = None,
    method: Annotated[PlainText | None, Query(max_length=200)] = None,
    parent: Annotated[PlainText | None, Query(max_length=200, description="A job, a model or an alias.")] = None,
    name: Annotated[PlainText | None, Query(max_length=200)] = None,
    sweep: Annotated[PlainText | None, Query(max_length=64, description="The jobs of a sweep.")] = None,
) -> JobFilters:
    """`metadata.<key>=value` too, which no signature can name."""
    metadata = {
        parameter.removeprefix(METADATA_PREFIX): value
        for parameter, value in request.query_params.items()
        if parameter.startswith(METADATA_PREFIX)
    }
    if any("\0" in text for pair in metadata.items() for text in pair):
        message = "A filter by metadata holds a NUL, which no metadata can."
        raise InvalidRequest(message, errors=[FieldError(location="metadata", message=message)])
    return JobFilters(tuple(status or ()), None if kind is None else (kind,), method, parent, name, sweep, metadata)


JobsService = Annotated[Jobs, Depends(get_jobs)]
ResultsService = Annotated[JobResults, Depends(get_results)]
DeletionService = Annotated[JobDeletion, Depends(get_deletion)]
JobId = Annotated[PlainText, Path(max_length=64)]


@router.post("", status_code=HTTPStatus.ACCEPTED, response_model=JobView, responses=IN_FLIGHT)
def create_job(spec: JobSpec, jobs: JobsService, creation: ThisCreation) -> Response:
    """Ask for a job. It is checked as far as can be without reading data, and then waits in the queue; a fine-tune
    whose parent has not finished waits for it first.
    """
    return creation.answer(
        lambda record: jobs.submit(creation.caller.project_id, spec, record),
        status=HTTPStatus.ACCEPTED,
        collection="/v1/jobs",
        asked=[spec.model_dump(mode="json"), spec.webhook and spec.webhook.secret],
    )


@router.post("/estimate")
def estimate_job(
    spec: TrainingSpec, caller: Reader, estimates: Annotated[Estimates, Depends(get_estimates)]
) -> Estimate:
    """What a training would come to: parameters, memory, steps and time. Nothing is queued."""
    return estimates.estimate(caller.project_id, spec)


@router.get("")
def list_jobs(
    caller: Reader,
    jobs: JobsService,
    filters: Annotated[JobFilters, Depends(get_filters)],
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> JobPage:
    """The project's jobs, the newest first. `metadata.<key>=<value>` filters by metadata."""
    return jobs.page(caller.project_id, filters, cursor, limit)


@router.get("/{job_id}", responses=NOT_FOUND)
def get_job(job_id: JobId, caller: Reader, jobs: JobsService) -> JobView:
    """One job: what was asked for, how far it is, and what came of it."""
    return jobs.get(caller.project_id, job_id)


@router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT, responses=WRONG_STATE)
def delete_job(job_id: JobId, caller: Writer, deletion: DeletionService) -> None:
    """Delete a job that has ended, with its checkpoints, files, events and metrics. Its models stay usable. A job that
    has not ended and starts from it keeps it from going.
    """
    deletion.delete(caller.project_id, job_id)


@router.get("/{job_id}/deletion", responses=NOT_FOUND)
def preview_job_deletion(job_id: JobId, caller: Reader, deletion: DeletionService) -> Deletion:
    """What deleting the job would free, what keeps it from going, and what would stay."""
    return deletion.preview(caller.project_id, job_id)


@router.post("/{job_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def cancel_job(job_id: JobId, caller: Writer, jobs: JobsService) -> JobView:
    """Stop a job for good. It keeps its checkpoints, and can be retried. Repeating the call changes nothing."""
    return jobs.cancel(caller.project_id, job_id)


@router.post("/{job_id}/pause", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def pause_job(job_id: JobId, caller: Writer, jobs: JobsService) -> JobView:
    """Take a job from the queue or, if it runs, stop it behind a checkpoint, until it is resumed."""
    return jobs.pause(caller.project_id, job_id)


@router.post("/{job_id}/resume", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def resume_job(job_id: JobId, caller: Writer, jobs: JobsService) -> JobView:
    """Queue a paused job again. It goes on from its last checkpoint, exactly as if it had never stopped."""
    return jobs.resume(caller.project_id, job_id)


@router.post("/{job_id}/retry", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def retry_job(job_id: JobId, caller: Writer, jobs: JobsService) -> JobView:
    """Queue a failed or cancelled job again, under the same id, from its last good checkpoint. Its time limit, if it
    has one, begins anew."""
    return jobs.retry(caller.project_id, job_id)


@router.get("/{job_id}/metrics", responses=NOT_FOUND)
def get_job_metrics(
    job_id: JobId,
    caller: Reader,
    results: ResultsService,
    name: Annotated[list[PlainText] | None, Query(description="One or several; all, if none is named.")] = None,
    max_points: Annotated[int, Query(ge=2, le=10_000, description="Of each series.")] = 1_000,
) -> MetricSeriesList:
    """The series of a job's metrics. A longer one is thinned out: each stretch keeps its lowest and highest point."""
    return results.metrics(caller.project_id, job_id, name or (), max_points)


@router.get("/{job_id}/checkpoints", responses=NOT_FOUND)
def list_job_checkpoints(job_id: JobId, caller: Reader, results: ResultsService) -> CheckpointList:
    """The checkpoints that a job keeps, in order of steps."""
    return results.checkpoints(caller.project_id, job_id)


@router.post(
    "/{job_id}/checkpoints/{step}/promote",
    status_code=HTTPStatus.CREATED,
    response_model=ModelView,
    responses=NOT_FOUND | IN_FLIGHT,
)
def promote_checkpoint(
    job_id: JobId,
    step: Annotated[int, Path(ge=0, lt=2**63)],
    models: Annotated[Models, Depends(get_models)],
    creation: ThisCreation,
) -> Response:
    """Make a model of a checkpoint. One that is a model already is answered as it is."""
    return creation.answer(
        lambda record: models.promote(creation.caller.project_id, job_id, step, record),
        status=HTTPStatus.CREATED,
        collection="/v1/models",
    )


@router.get("/{job_id}/artifacts", responses=NOT_FOUND)
def list_job_artifacts(job_id: JobId, caller: Reader, results: ResultsService) -> ArtifactList:
    """The files that a job made for its user: reports, samples, its log."""
    return results.artifacts(caller.project_id, job_id)


@router.get(
    "/{job_id}/artifacts/{name:path}",
    response_class=StreamingResponse,
    responses=NOT_FOUND | {200: {"content": {"*/*": {}}}},
)
def download_job_artifact(job_id: JobId, name: PlainText, caller: Reader, results: ResultsService) -> Response:
    """One of those files."""
    return as_download(results.download(caller.project_id, job_id, name))
