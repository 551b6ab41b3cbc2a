"""Jobs that are asked for at a model's path, and not by a spec that names the model."""

from collections.abc import Callable
from http import HTTPStatus

from fastapi import Response

from app.api.creation import Creation
from app.contract.specs import BatchPredictOptions, BatchPredictSpec, EvaluateOptions, EvaluateSpec
from app.services.idempotency import Record
from app.services.jobs import Jobs, JobView
from app.services.models import Models


def created_for_model(
    creation: Creation,
    jobs: Jobs,
    models: Models,
    *,
    model: str,
    options: BatchPredictOptions | EvaluateOptions,
    spec: Callable[..., BatchPredictSpec | EvaluateSpec],
) -> Response:
    """`spec` is made of `model` and of what `options` name. Raises NotFound where there is no such model."""
    project_id = creation.caller.project_id

    def submitted(record: Record[JobView] | None) -> JobView:
        models.get(project_id, model)  # a path that leads nowhere is no invalid field
        given = {name: getattr(options, name) for name in options.model_fields_set}
        return jobs.submit(project_id, spec(model=model, **given), record)

    return creation.answer(
        submitted,
        status=HTTPStatus.ACCEPTED,
        collection="/v1/jobs",
        asked=[options.model_dump(mode="json"), options.webhook and options.webhook.secret],
    )
