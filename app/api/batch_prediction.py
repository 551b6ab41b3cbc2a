"""`/v1/models/{model}/batch_predict`: a model's answers to a whole data set, as a job."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.jobs import JobsService
from app.api.models import NOT_FOUND, ModelsService, Ref
from app.contract.specs import BatchPredictOptions, BatchPredictSpec
from app.services.idempotency import Record
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
    project_id = creation.caller.project_id

    def submitted(record: Record[JobView] | None) -> JobView:
        models.get(project_id, model)  # a path that leads nowhere is no invalid field
        given = {name: getattr(options, name) for name in options.model_fields_set}
        return jobs.submit(project_id, BatchPredictSpec(kind="batch_predict", model=model, **given), record)

    return creation.answer(
        submitted,
        status=HTTPStatus.ACCEPTED,
        collection="/v1/jobs",
        asked=[options.model_dump(mode="json"), options.webhook and options.webhook.secret],
    )
