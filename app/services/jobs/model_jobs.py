"""What jobs share that go over a data set with a model: both are there, and one fits the other."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.model_folder import ModelDescription
from app.contract.specs import ModelJobSpec
from app.db import models
from app.db.tables import DatasetRow, ModelRow
from app.services.jobs.bodies import example_shape, told_shape
from app.services.jobs.datasets import find_dataset
from app.services.webhooks import check_address
from app.settings import Settings

AnyModelJobSpec = TypeVar("AnyModelJobSpec", bound=ModelJobSpec)


@dataclass(frozen=True, slots=True)
class PlannedModelJob(Generic[AnyModelJobSpec]):
    """One that could run; `spec` has every default filled in."""

    spec: AnyModelJobSpec
    dataset: DatasetRow
    model: ModelRow

    @property
    def description(self) -> ModelDescription:
        return ModelDescription.model_validate(self.model.description, strict=False)


def found(
    session: Session, project_id: str, spec: AnyModelJobSpec, settings: Settings
) -> PlannedModelJob[AnyModelJobSpec]:
    """The data set and the model, held against deletion until the transaction ends. Raises InvalidRequest."""
    dataset = find_dataset(session, project_id, spec.dataset, "dataset")
    model = models.resolve(session, project_id, spec.model, lock="share")
    if model is None:
        raise refused(f"There is no model or alias {spec.model!r}.", "model")
    if spec.resources.device == "cuda":
        raise refused("Models answer on the CPU, and device is cuda: leave it out.", "resources.device")
    if spec.webhook is not None:
        check_address(spec.webhook, settings, "webhook.url")
    return PlannedModelJob(spec, dataset, model)


def check_shape(model: ModelDescription, dataset: DatasetRow) -> None:
    wanted, given = model.body.input_shape, example_shape(dataset)
    if wanted is not None and given is not None and wanted != given:
        raise refused(
            f"An example of {dataset.id} has {told_shape(given)}; the model reads {told_shape(wanted)}. Give a data "
            f"set whose examples have {told_shape(wanted)}.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )


def named(model: ModelDescription) -> str:
    return f"a model of the method {model.method}{' without its head' if model.headless else ''}"


def refused(message: str, location: str, code: ErrorCode = ErrorCode.VALIDATION_FAILED) -> InvalidRequest:
    message = message[0].upper() + message[1:]
    return InvalidRequest(message, code=code, errors=[FieldError(location=location, message=message)])
