"""`/openai/v1/models`: the project's models, with their native view as further attributes."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path

from app.api.deps import Caller, Reader, Writer
from app.api.models import IN_USE, NOT_FOUND, get_models
from app.api.openai.conventions import PREFIX, Deleted, ItemList, unix
from app.contract.base import Contract, PlainText
from app.contract.model_folder import Label
from app.services.models import Models, ModelView

router = APIRouter(prefix=f"{PREFIX}/models", tags=["openai"])

#: The client asks for no pages of models.
MAX_MODELS = 10_000


class OpenAIModel(Contract):
    """`owned_by` is the project. What follows `owned_by` is native; see `GET /v1/models/{model}`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    name: str | None
    kind: str
    method: str
    aliases: list[str]
    labels: list[Label] | None
    num_parameters: int
    metrics: dict[str, float]
    job_id: str | None
    parent: str | None


ModelsService = Annotated[Models, Depends(get_models)]
Ref = Annotated[PlainText, Path(max_length=200, description="A model's id, or an alias.")]


@router.get("")
def list_openai_models(caller: Reader, models: ModelsService) -> ItemList[OpenAIModel]:
    """The project's models, the newest first, in one page."""
    found = models.page(caller.project_id, cursor=None, limit=MAX_MODELS)
    return ItemList(data=[_told(view, caller) for view in found.data])


@router.get("/{model:path}", responses=NOT_FOUND)
def get_openai_model(model: Ref, caller: Reader, models: ModelsService) -> OpenAIModel:
    """One model, by id or alias."""
    return _told(models.get(caller.project_id, model), caller)


@router.delete("/{model:path}", responses=IN_USE)
def delete_openai_model(model: Ref, caller: Writer, models: ModelsService) -> Deleted:
    """Delete a model that no alias, no other model and no unfinished job needs."""
    models.delete(caller.project_id, model)
    return Deleted(id=model, object="model")


def _told(view: ModelView, caller: Caller) -> OpenAIModel:
    return OpenAIModel(
        created=unix(view.created_at),
        owned_by=caller.project_id,
        parent=view.parent_model_id,
        **{name: getattr(view, name) for name in _SHARED},
    )


_SHARED = ("id", "name", "kind", "method", "aliases", "labels", "num_parameters", "metrics", "job_id")
