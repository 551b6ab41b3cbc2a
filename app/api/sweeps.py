"""`/v1/sweeps`: one job trained many times with other parameters. Its jobs stand in `app.api.jobs` like all others."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.contract.base import PlainText
from app.contract.specs.sweep import SweepSpec, SweepStatus
from app.services.deletion import Deletion
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT
from app.services.sweeps.service import Sweeps
from app.services.sweeps.views import SweepPage, SweepView, as_csv

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

#: What jobs of it still do is not stored with it.
Stored = Literal["running", "paused", "cancelled", "succeeded", "failed"]
Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: Responses = {404: {"description": "This project has no such sweep."}}
WRONG_STATE: Responses = NOT_FOUND | {409: {"description": "The sweep is in a state that this cannot be asked of."}}


async def get_sweeps(services: Annotated[Services, Depends(get_services)]) -> Sweeps:
    return Sweeps(services.database, services.store, services.dispatcher, services.settings)


SweepsService = Annotated[Sweeps, Depends(get_sweeps)]
SweepId = Annotated[PlainText, Path(max_length=64)]


@router.post("", status_code=HTTPStatus.ACCEPTED, response_model=SweepView, responses=IN_FLIGHT)
def create_sweep(spec: SweepSpec, sweeps: SweepsService, creation: ThisCreation) -> Response:
    """Train one job many times, and find what makes it better. All values that it may try are checked now, as jobs
    would be; trainers begin the trials, which are jobs like all others."""
    return creation.answer(
        lambda record: sweeps.create(creation.caller.project_id, spec, record),
        status=HTTPStatus.ACCEPTED,
        collection="/v1/sweeps",
        asked=spec.model_dump(mode="json"),
    )


@router.get("")
def list_sweeps(
    caller: Reader,
    sweeps: SweepsService,
    status: Annotated[list[Stored] | None, Query(description="One or several.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> SweepPage:
    """The project's sweeps without their trials, the newest first."""
    return sweeps.page(caller.project_id, [SweepStatus(each) for each in status or ()], cursor, limit)


@router.get("/{sweep_id}", responses=NOT_FOUND)
def get_sweep(sweep_id: SweepId, caller: Reader, sweeps: SweepsService) -> SweepView:
    """One sweep: its trials with their jobs and scores, the best, what each parameter matters, and why."""
    return sweeps.get(caller.project_id, sweep_id)


@router.get(
    "/{sweep_id}/trials.csv",
    response_class=Response,
    responses=NOT_FOUND | {200: {"content": {"text/csv": {}}, "description": "A line a trial."}},
)
def get_sweep_as_csv(sweep_id: SweepId, caller: Reader, sweeps: SweepsService) -> Response:
    """Its trials as a table: parameters, scores of all folds, mean, standard deviation."""
    table = as_csv(sweeps.get(caller.project_id, sweep_id))
    named = {"Content-Disposition": f'attachment; filename="{sweep_id}.csv"'}
    return Response(table, media_type="text/csv; charset=utf-8", headers=named)


@router.delete("/{sweep_id}", status_code=HTTPStatus.NO_CONTENT, responses=WRONG_STATE)
def delete_sweep(sweep_id: SweepId, caller: Writer, sweeps: SweepsService) -> None:
    """Delete a sweep that has ended, with all its jobs. Models that were made of them stay."""
    sweeps.delete(caller.project_id, sweep_id)


@router.get("/{sweep_id}/deletion", responses=NOT_FOUND)
def preview_sweep_deletion(sweep_id: SweepId, caller: Reader, sweeps: SweepsService) -> Deletion:
    """What deleting the sweep would free, what keeps it from going, and what would stay."""
    return sweeps.deletion(caller.project_id, sweep_id)


@router.post("/{sweep_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def cancel_sweep(sweep_id: SweepId, caller: Writer, sweeps: SweepsService) -> SweepView:
    """Stop a sweep and all its jobs for good. Repeating the call changes nothing."""
    return sweeps.cancel(caller.project_id, sweep_id)


@router.post("/{sweep_id}/pause", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def pause_sweep(sweep_id: SweepId, caller: Writer, sweeps: SweepsService) -> SweepView:
    """Stop all jobs of a sweep behind a checkpoint, and begin none, until it is resumed."""
    return sweeps.pause(caller.project_id, sweep_id)


@router.post("/{sweep_id}/resume", status_code=HTTPStatus.ACCEPTED, responses=WRONG_STATE)
def resume_sweep(sweep_id: SweepId, caller: Writer, sweeps: SweepsService) -> SweepView:
    """Go on with a paused sweep, and with every job of it that is paused. What comes of it is what would have come."""
    return sweeps.resume(caller.project_id, sweep_id)
