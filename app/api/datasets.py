"""`/v1/datasets`. The upload is streamed by a dependency of its own; see `app.api.multipart`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import TypeAdapter, ValidationError

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Caller, Services, get_caller, get_services
from app.api.multipart import receive_form
from app.api.refusals import validated
from app.contract.errors import FieldError, InvalidRequest
from app.services.datasets import (
    MAX_PREVIEW_RECORDS,
    DatasetForm,
    DatasetPage,
    DatasetPreview,
    Datasets,
    DatasetView,
)
from app.services.uploads import IncomingFile, Upload, uploads_folder

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


@dataclass(frozen=True, slots=True)
class DatasetUpload:
    upload: Upload
    form: DatasetForm


def get_datasets(services: Annotated[Services, Depends(get_services)]) -> Datasets:
    return Datasets(services.database, services.store, services.validators)


async def receive_upload(
    request: Request,
    _caller: Annotated[Caller, Depends(get_caller)],
    services: Annotated[Services, Depends(get_services)],
) -> AsyncIterator[DatasetUpload]:
    """The form, once the caller is known; its file is gone from scratch before the answer is sent."""
    max_bytes = services.settings.max_upload_bytes
    with IncomingFile(uploads_folder(services.settings), max_bytes) as incoming:
        upload, fields = await receive_form(request, incoming, max_bytes)
        yield DatasetUpload(upload, dataset_form(fields))


def dataset_form(fields: dict[str, str]) -> DatasetForm:
    """The fields beside the file; a field left empty is not given."""
    given: dict[str, Any] = {name: value for name, value in fields.items() if value}
    if "columns" in given:
        given["columns"] = _columns(given["columns"])
    return validated(DatasetForm, given)


def _columns(text: str) -> dict[str, str]:
    try:
        return _COLUMNS.validate_json(text)
    except ValidationError:
        message = 'Must be a JSON object of strings, such as {"text": "review", "label": "stars"}.'
        raise InvalidRequest(message, errors=[FieldError(location="columns", message=message)]) from None


ProjectCaller = Annotated[Caller, Depends(get_caller)]
DatasetsService = Annotated[Datasets, Depends(get_datasets)]


@router.post(
    "", status_code=HTTPStatus.CREATED, response_model=DatasetView, responses=IN_FLIGHT, openapi_extra=_FORM_SCHEMA
)
def create_dataset(
    datasets: DatasetsService,
    creation: ThisCreation,
    received: Annotated[DatasetUpload, Depends(receive_upload, scope="function")],
) -> Response:
    """Upload a file as an immutable data set. It is validated wholly before the answer."""
    return creation.answer(
        lambda record: datasets.create(creation.caller.project_id, received.upload, received.form, record),
        status=HTTPStatus.CREATED,
        collection="/v1/datasets",
        asked=[received.upload.sha256, received.form.model_dump(mode="json")],
    )


@router.get("")
def list_datasets(
    caller: ProjectCaller,
    datasets: DatasetsService,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> DatasetPage:
    """The project's data sets, the newest first."""
    return datasets.page(caller.project_id, cursor, limit)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: str, caller: ProjectCaller, datasets: DatasetsService) -> DatasetView:
    """One data set: what it holds, not its records."""
    return datasets.get(caller.project_id, dataset_id)


@router.get("/{dataset_id}/preview")
def preview_dataset(
    dataset_id: str,
    caller: ProjectCaller,
    datasets: DatasetsService,
    limit: Annotated[int, Query(ge=1, le=MAX_PREVIEW_RECORDS)] = 10,
) -> DatasetPreview:
    """The first records; long texts and vectors are cut."""
    return datasets.preview(caller.project_id, dataset_id, limit)


@router.delete("/{dataset_id}", status_code=HTTPStatus.NO_CONTENT)
def delete_dataset(dataset_id: str, caller: ProjectCaller, datasets: DatasetsService) -> None:
    """Delete a data set that no unfinished job needs. Models trained on it stay."""
    datasets.delete(caller.project_id, dataset_id)
