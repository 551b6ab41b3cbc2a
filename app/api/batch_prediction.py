"""`/v1/models/{model}/batch_predict`: a model's answers to a whole data set, as a job."""

from functools import partial
from http import HTTPStatus

from fastapi import APIRouter, Response

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.jobs import JobsService
from app.api.model_jobs import created_for_model
from app.api.models import NOT_FOUND, ModelsService, Ref
from app.contract.specs import BatchPredictOptions, BatchPredictSpec
from app.services.jobs import JobView

router = APIRouter(prefix="/v1/models", tags=["inference"])


@router.post(
    "/{model:path}/batch_predict",
    status_code=HTTPStatus.ACCEPTED,
    response_model=JobView,
    responses=NOT_FOUND | IN_FLIGHT,
)
def batch_predict(
    model: Ref, options: BatchPredictOptions, jobs: JobsService, models: ModelsService, creation: ThisCreation
) -> Response:
    """Ask a model, by id or alias, for its answers to all records of a data set. The job's artifact `predictions.jsonl`
    has a line for each record, in order: its `index`, and the `output` or, where the model refuses the record, an
    `error`. `POST /v1/jobs` takes the same with the kind `batch_predict` and a `model`.
    """
    spec = partial(BatchPredictSpec, kind="batch_predict")
    return created_for_model(creation, jobs, models, model=model, options=options, spec=spec)
