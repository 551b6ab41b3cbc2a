"""A model as its user sees it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.model_folder import Granularity, InputKind, Label, ModelDescription
from app.contract.specs.architectures import TextArchitecture
from app.db import aliases, workers
from app.db.session import now
from app.db.tables import ModelRow
from app.settings import Settings


class ModelInput(Contract):
    """What one input is. `shape` is [F] of features and [C, H, W] of images; `context_length` is in tokens, of text."""

    kind: Annotated[InputKind, Field(strict=False)]
    shape: list[int] | None
    context_length: int | None


class ModelView(Contract):
    """`labels` are in the order of the model's head; `target_size` is how many numbers a regression gives. `digest`
    names the bytes: equal weights have equal digests. `headless`: imported without the head of its method, so that it
    embeds, and is a parent. An imported model has no job, no parent and no data set. `pinned`: every replica keeps it
    in memory. `loaded_on` lists the replicas (`/v1/workers`) that hold it now, as far as their last heartbeats tell.
    """

    id: str
    name: str | None
    kind: Literal["pretrain", "finetune"]
    method: str
    digest: str
    input: ModelInput
    granularity: Annotated[Granularity, Field(strict=False)]
    architecture: dict[str, object]
    labels: list[Label] | None
    target_size: int | None
    headless: bool
    num_parameters: int
    size_bytes: int
    metrics: dict[str, float]
    job_id: str | None
    checkpoint_step: int | None
    parent_model_id: str | None
    dataset_id: str | None
    aliases: list[str]
    pinned: bool
    loaded_on: list[str]
    created_at: datetime


class ModelPage(Contract):
    data: list[ModelView]
    next_cursor: str | None


class LineageEntry(Contract):
    """One generation: a model, the job that made it and the data that taught it."""

    model_id: str
    job_id: str | None
    dataset_id: str | None
    method: str


class Lineage(Contract):
    """The root first, the model asked for last."""

    data: list[LineageEntry]


def views_of(session: Session, rows: Sequence[ModelRow], settings: Settings) -> list[ModelView]:
    names = aliases.of_models(session, [row.id for row in rows]) if rows else {}
    holders = workers.holders(session, {row.digest for row in rows}, now(session) - settings.silence)
    return [_view(row, names.get(row.id, []), holders[row.digest]) for row in rows]


def _view(row: ModelRow, names: Sequence[str], loaded_on: Sequence[str]) -> ModelView:
    description = ModelDescription.model_validate(row.description, strict=False)
    body = description.body
    shape = body.architecture
    return ModelView.model_validate(
        {name: getattr(row, name) for name in _PLAIN}
        | {
            "input": ModelInput(
                kind=body.input,
                shape=None if body.input_shape is None else list(body.input_shape),
                context_length=shape.context_length if isinstance(shape, TextArchitecture) else None,
            ),
            "granularity": body.granularity,
            "architecture": shape.model_dump(mode="json"),
            "labels": None if description.labels is None else list(description.labels),
            "target_size": description.target_size,
            "headless": description.headless,
            "num_parameters": description.num_parameters,
            "aliases": list(names),
            "pinned": row.pinned_at is not None,
            "loaded_on": list(loaded_on),
        }
    )


#: The fields that are columns.
_PLAIN = set(ModelView.model_fields) & set(ModelRow.__table__.columns.keys())
