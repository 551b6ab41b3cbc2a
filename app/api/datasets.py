"""`/v1/datasets`. The upload is streamed by a dependency of its own; see `app.api.uploads`."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import TypeAdapter, ValidationError

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.api.uploads import ThisUpload
from app.contract.errors import FieldError, InvalidRequest
from app.services.datasets import (
    MAX_PREVIEW_RECORDS,
    DatasetForm,
    DatasetPage,
    DatasetPreview,
    Datasets,
    DatasetView,
)
from app.services.deletion import Deletion
from app.services.refusals import validated

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

_COLUMNS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
#: FastAPI cannot know the form, because it does not read it.
_FORM_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string", "maxLength": 200},
                        "kind": {"type": "string"},
                        "columns": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": 'Our names of fields to the file\'s: {"text": "review", "label": "stars"}.',
                        },
                    },
                }
            }
        },
    }
}


async def get_datasets(services: Annotated[Services, Depends(get_services)]) -> Datasets:
    return Datasets(services.database, services.store, services.validators, services.settings.max_stored_bytes)


def dataset_form(fields: dict[str, str]) -> DatasetForm:
    """Out of the fields beside the file."""
    given: dict[str, Any] = dict(fields)
    if "columns" in given:
        given["columns"] = _columns(given["columns"])
    return validated(DatasetForm, given)


def _columns(text: str) -> dict[str, str]:
    try:
        return _COLUMNS.validate_json(text)
    except ValidationError:
        message = 'Must be a JSON object of strings, such as {"text": "review", "label": "stars"}.'
        raise InvalidRequest(message, errors=[FieldError(location="columns", message=message)]) from None


DatasetsService = Annotated[Datasets, Depends(get_datasets)]


@router.post(
    "", status_code=HTTPStatus.CREATED, response_model=DatasetView, responses=IN_FLIGHT, openapi_extra=_FORM_SCHEMA
)
def create_dataset(
    datasets: DatasetsService,
    creation: ThisCreation,
    received: ThisUpload,
) -> Response:
    """Upload a file as an immutable data set. It is validated wholly before the answer."""
    form = dataset_form(received.fields)
    return creation.answer(
        lambda record: datasets.create(creation.caller.project_id, received.upload, form, record),
        status=HTTPStatus.CREATED,
        collection="/v1/datasets",
        asked=[received.upload.sha256, form.model_dump(mode="json")],
    )


@router.get("")
def list_datasets(
    caller: Reader,
    datasets: DatasetsService,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> DatasetPage:
    """The project's data sets, the newest first."""
    return datasets.page(caller.project_id, cursor, limit)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, caller: Reader, datasets: DatasetsService) -> DatasetView:
    """One data set: what it holds, not its records."""
    return datasets.get(caller.project_id, dataset_id)


@router.get("/{dataset_id}/preview")
def preview_dataset(
    dataset_id: str,
    caller: Reader,
    datasets: DatasetsService,
    limit: Annotated[int, Query(ge=1, le=MAX_PREVIEW_RECORDS)] = 10,
) -> DatasetPreview:
    """The first records; long texts and vectors are cut."""
    return datasets.preview(caller.project_id, dataset_id, limit)


@router.get("/{dataset_id}/deletion")
def preview_dataset_deletion(dataset_id: str, caller: Reader, datasets: DatasetsService) -> Deletion:
    """What deleting the data set would free, what keeps it from going, and what would stay."""
    return datasets.deletion(caller.project_id, dataset_id)


@router.delete("/{dataset_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_dataset(dataset_id: str, caller: Writer, datasets: DatasetsService) -> None:
    """Delete a data set that no unfinished job needs. Models trained on it stay."""
    datasets.delete(caller.project_id, dataset_id)
