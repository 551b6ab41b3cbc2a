"""`/openai/v1/files`: a file is a data set under the same id, wholly validated before it is answered."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.datasets import dataset_form, get_datasets
from app.api.deps import Reader, Writer
from app.api.downloads import as_download
from app.api.openai.conventions import PREFIX, Deleted, ItemList, locations, recorded_as, unix, unsupported
from app.api.uploads import ThisUpload
from app.contract.base import Contract, PlainText
from app.services.datasets import DatasetForm, Datasets, DatasetView

router = APIRouter(prefix=f"{PREFIX}/files", tags=["openai"])

Purpose = Literal["fine-tune"]
PURPOSE: Purpose = "fine-tune"
MAX_FILES = 10_000

_FORM_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": [PURPOSE]},
                        "name": {"type": "string", "maxLength": 200},
                        "kind": {"type": "string"},
                        "columns": {
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                            "description": "Our names of fields to the file's, as columns[text]=review.",
                        },
                    },
                }
            }
        },
    }
}


class OpenAIFile(Contract):
    """What follows `status` is native; see `GET /v1/datasets/{dataset_id}`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Purpose = PURPOSE
    status: Literal["processed"] = "processed"
    name: str
    kind: str
    columns: dict[str, str]
    num_examples: int
    sha256: str
    profile: dict[str, Any]
    warnings: list[str]


def _form(fields: Mapping[str, str]) -> DatasetForm:
    """The client writes an object of `extra_body` as `columns[text]`."""
    if fields.get("purpose") != PURPOSE:
        raise unsupported("purpose", f"The purpose {fields.get('purpose')!r} is not supported: give {PURPOSE!r}.")
    columns = {
        name.removeprefix("columns[").removesuffix("]"): value
        for name, value in fields.items()
        if name.startswith("columns[")
    }
    plain = {name: value for name, value in fields.items() if name != "purpose" and not name.startswith("columns[")}
    return dataset_form(plain | ({"columns": to_json(columns).decode()} if columns else {}))


DatasetsService = Annotated[Datasets, Depends(get_datasets)]
DatasetId = Annotated[PlainText, Path(max_length=64)]


@router.post("", response_model=OpenAIFile, responses=IN_FLIGHT, openapi_extra=_FORM_SCHEMA)
def create_openai_file(
    datasets: DatasetsService,
    creation: ThisCreation,
    received: ThisUpload,
) -> Response:
    """Upload a file as a data set. `name`, `kind` and `columns` come by `extra_body`."""
    project_id, form = creation.caller.project_id, _form(received.fields)
    return creation.answer(
        lambda record: _told(datasets.create(project_id, received.upload, form, recorded_as(record, _told))),
        status=HTTPStatus.OK,
        collection=f"{PREFIX}/files",
        asked=[received.upload.sha256, form.model_dump(mode="json")],
    )


@router.get("")
def list_openai_files(
    *,
    caller: Reader,
    datasets: DatasetsService,
    purpose: Annotated[str | None, Query(description="All are of one purpose: fine-tune.")] = None,
    order: Annotated[Literal["desc"], Query(description="The newest first.")] = "desc",  # noqa: ARG001  no other is taken
    limit: Annotated[int, Query(ge=1, le=MAX_FILES)] = MAX_FILES,
    after: Annotated[PlainText | None, Query(max_length=64)] = None,
) -> ItemList[OpenAIFile]:
    """The project's data sets, the newest first."""
    if purpose not in {None, PURPOSE}:
        return ItemList(data=[])
    with locations({"cursor": "after"}):
        page = datasets.page(caller.project_id, after, limit)
    return ItemList(data=[_told(view) for view in page.data], has_more=page.next_cursor is not None)


@router.get("/{dataset_id}")
def get_openai_file(dataset_id: DatasetId, caller: Reader, datasets: DatasetsService) -> OpenAIFile:
    """One data set, as a file."""
    return _told(datasets.get(caller.project_id, dataset_id))


@router.get(
    "/{dataset_id}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def download_openai_file(dataset_id: DatasetId, caller: Reader, datasets: DatasetsService) -> Response:
    """The file, byte for byte as it was uploaded."""
    return as_download(datasets.content(caller.project_id, dataset_id))


@router.delete("/{dataset_id}", responses={409: {"description": "A job that has not ended needs it."}})
def delete_openai_file(dataset_id: DatasetId, caller: Writer, datasets: DatasetsService) -> Deleted:
    """Delete a data set that no unfinished job needs."""
    datasets.delete(caller.project_id, dataset_id)
    return Deleted(id=dataset_id, object="file")


def _told(view: DatasetView) -> OpenAIFile:
    return OpenAIFile(
        bytes=view.size_bytes,
        created_at=unix(view.created_at),
        **{name: getattr(view, name) for name in _SHARED},
    )


_SHARED = ("id", "filename", "name", "kind", "columns", "num_examples", "sha256", "profile", "warnings")
