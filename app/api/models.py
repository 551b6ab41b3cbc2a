"""`/v1/models`: registered models and the names that point at them. Asking a model stands in `app.api.inference`."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from app.api.creation import IN_FLIGHT, ThisCreation
from app.api.deps import Reader, Services, Writer, get_services
from app.api.downloads import as_download
from app.api.uploads import ThisUpload
from app.contract.base import PlainText
from app.services.deletion import Deletion
from app.services.models import Lineage, ModelPage, Models, ModelView
from app.services.models.imports import ImportForm, Imports
from app.services.paging import DEFAULT_LIMIT, MAX_LIMIT
from app.services.refusals import validated

router = APIRouter(prefix="/v1/models", tags=["models"])

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
                        "file": {"type": "string", "format": "binary", "description": "A zip of the folder."},
                        "name": {"type": "string", "maxLength": 200},
                        "alias": {"type": "string", "maxLength": 200},
                    },
                }
            }
        },
    }
}

Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: Responses = {404: {"description": "This project has no such model or alias."}}
IN_USE: Responses = NOT_FOUND | {
    409: {"description": "An alias, a model or a job that has not ended needs it, or it is pinned."}
}
NO_ROOM: Responses = NOT_FOUND | {422: {"description": "With what is pinned already, it would not fit into a replica."}}
ZIP: Responses = NOT_FOUND | {200: {"content": {"application/zip": {}}}}


async def get_models(services: Annotated[Services, Depends(get_services)]) -> Models:
    return Models(services.database, services.store, services.settings)


async def get_imports(services: Annotated[Services, Depends(get_services)]) -> Imports:
    return Imports(services.database, services.store, services.settings)


ModelsService = Annotated[Models, Depends(get_models)]
Ref = Annotated[PlainText, Path(max_length=200, description="A model's id, or an alias.")]


@router.get("")
def list_models(
    *,
    caller: Reader,
    models: ModelsService,
    method: Annotated[PlainText | None, Query(max_length=64)] = None,
    job: Annotated[PlainText | None, Query(max_length=64, description="The id of the job that made it.")] = None,
    name: Annotated[PlainText | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> ModelPage:
    """The project's models, the newest first."""
    return models.page(caller.project_id, method=method, job_id=job, name=name, cursor=cursor, limit=limit)


@router.post(
    "/import",
    status_code=HTTPStatus.CREATED,
    response_model=ModelView,
    responses=IN_FLIGHT,
    openapi_extra=_FORM_SCHEMA,
)
def import_model(
    imports: Annotated[Imports, Depends(get_imports)],
    creation: ThisCreation,
    received: ThisUpload,
) -> Response:
    """Upload a zip of a folder as `save_pretrained` writes it, of a Llama, GPT-2 or BERT: config.json, tokenizer.json
    and weights in safetensors. It is judged wholly before the answer; pickles are refused unread.
    """
    form = validated(ImportForm, received.fields)
    return creation.answer(
        lambda record: imports.create(creation.caller.project_id, received.upload, form, record),
        status=HTTPStatus.CREATED,
        collection="/v1/models",
        asked=[received.upload.sha256, received.upload.filename, form.model_dump(mode="json")],
    )


@router.get("/{model}", responses=NOT_FOUND)
def get_model(model: Ref, caller: Reader, models: ModelsService) -> ModelView:
    """One model: what it takes, what it gives, and where it came from."""
    return models.get(caller.project_id, model)


@router.get("/{model}/lineage", responses=NOT_FOUND)
def get_model_lineage(model: Ref, caller: Reader, models: ModelsService) -> Lineage:
    """The model and those that it was fine-tuned from, the root first."""
    return models.lineage(caller.project_id, model)


@router.get("/{model}/archive", response_class=StreamingResponse, responses=ZIP)
def download_model(model: Ref, caller: Reader, models: ModelsService) -> Response:
    """The model's folder as a zip, in the names of Hugging Face's tools: config.json, model.safetensors, README.md and,
    where it reads text, tokenizer.json.
    """
    return as_download(models.archive(caller.project_id, model))


@router.put("/{model}/aliases/{alias}", responses=NOT_FOUND)
def put_alias(model: Ref, alias: PlainText, caller: Writer, models: ModelsService) -> ModelView:
    """Let an alias point at this model, wherever it pointed before."""
    return models.put_alias(caller.project_id, model, alias)


@router.delete("/{model}/aliases/{alias}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def delete_alias(model: Ref, alias: PlainText, caller: Writer, models: ModelsService) -> None:
    """Take an alias away from this model."""
    models.delete_alias(caller.project_id, model, alias)


@router.put("/{model}/pin", responses=NO_ROOM)
def pin_model(model: Ref, caller: Writer, models: ModelsService) -> ModelView:
    """Let every inference replica keep the model in memory, from its start on. An alias stands for the model that it
    points at now: the pin does not move with it.
    """
    return models.pin(caller.project_id, model)


@router.delete("/{model}/pin", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def unpin_model(model: Ref, caller: Writer, models: ModelsService) -> None:
    """Let the model make room for others, when they need it."""
    models.unpin(caller.project_id, model)


@router.get("/{model}/deletion", responses=NOT_FOUND)
def preview_model_deletion(model: Ref, caller: Reader, models: ModelsService) -> Deletion:
    """What deleting the model would free, what keeps it from going, and what would stay."""
    return models.deletion(caller.project_id, model)


@router.delete("/{model}", status_code=HTTPStatus.NO_CONTENT, responses=IN_USE)
def delete_model(model: Ref, caller: Writer, models: ModelsService) -> None:
    """Delete a model that is not pinned, and that no alias, no other model and no unfinished job needs. Its job keeps
    its checkpoints.
    """
    models.delete(caller.project_id, model)
