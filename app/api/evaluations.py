"""`/v1/models/{model}/evaluate` and `/v1/evaluations`: how good a model is on a data set, and which is better."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.api.downloads import as_download
from app.api.jobs import JobsService
from app.api.model_jobs import created_for_model
from app.api.models import NOT_FOUND, ModelsService, Ref, Responses
from app.contract.base import PlainText
from app.contract.specs import EvaluateOptions, EvaluateSpec
from app.services.evaluations import ComparisonView, EvaluationPage, Evaluations, EvaluationView
from app.services.jobs import JobView
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT

router = APIRouter(tags=["evaluations"])

NO_EVALUATION: Responses = {404: {"description": "This project has no such evaluation."}}
NOT_COMPARABLE: Responses = NO_EVALUATION | {422: {"description": "The two did not judge the same."}}
NPZ: Responses = NO_EVALUATION | {200: {"content": {"application/x-npz": {}}}}


async def get_evaluations(services: Annotated[Services, Depends(get_services)]) -> Evaluations:
    return Evaluations(services.database, services.store)


EvaluationsService = Annotated[Evaluations, Depends(get_evaluations)]
EvaluationId = Annotated[PlainText, Path(max_length=64, description="An evaluation's id.")]


@router.post(
    "/v1/models/{model:path}/evaluate",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobView,
    responses=NOT_FOUND | IN_FLIGHT,
)
def evaluate_model(
    model: Ref, options: EvaluateOptions, jobs: JobsService, models: ModelsService, creation: ThisCreation
) -> Response:
    """Judge a model, by id or alias, by a data set of the kind that teaches its method: the measures of its field, each
    with a 95 % bootstrap interval. When the job succeeds, the model has an evaluation, whose id is the job's with
    `eval_` for `job_`. `POST /v1/jobs` takes the same with the kind `evaluate` and a `model`.
    """
    spec = partial(EvaluateSpec, kind="evaluate")
    return created_for_model(creation, jobs, models, model=model, options=options, spec=spec)


@router.get("/v1/models/{model}/evaluations", responses=NOT_FOUND)
def list_model_evaluations(
    model: Ref,
    caller: Reader,
    evaluations: EvaluationsService,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> EvaluationPage:
    """The model's evaluations, the newest first, in short."""
    return evaluations.page(caller.project_id, model, cursor, limit)


@router.get("/v1/evaluations/{evaluation_id}", responses=NO_EVALUATION)
def get_evaluation(evaluation_id: EvaluationId, caller: Reader, evaluations: EvaluationsService) -> EvaluationView:
    """One evaluation with all that it found: measures, labels, confusion, reliability."""
    return evaluations.get(caller.project_id, evaluation_id)


@router.get("/v1/evaluations/{evaluation_id}/units", response_class=StreamingResponse, responses=NPZ)
def download_evaluation_units(evaluation_id: EvaluationId, caller: Reader, evaluations: EvaluationsService) -> Response:
    """What each unit of the data adds to the measures, as NumPy arrays (.npz): a row a unit, in the order of the data.
    The whole report can be computed from them.
    """
    return as_download(evaluations.units(caller.project_id, evaluation_id))


@router.get("/v1/evaluations/{evaluation_id}/compare/{other_id}", responses=NOT_COMPARABLE)
def compare_evaluations(
    evaluation_id: EvaluationId, other_id: EvaluationId, caller: Reader, evaluations: EvaluationsService
) -> ComparisonView:
    """Which of two models is better on the same data: measure by measure the difference, first less second, with a
    paired bootstrap interval and a paired test; and a sentence.
    """
    return evaluations.compare(caller.project_id, evaluation_id, other_id)


@router.delete("/v1/evaluations/{evaluation_id}", status_code=HTTPStatus.NO_CONTENT, responses=NO_EVALUATION)
def delete_evaluation(evaluation_id: EvaluationId, caller: Writer, evaluations: EvaluationsService) -> None:
    """Take an evaluation away from its model. Its job keeps its files, if it is still there."""
    evaluations.delete(caller.project_id, evaluation_id)
