"""A batch prediction as far as it is known when it is asked for: the model, what it answers, and the data for it."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.inference import Operation
from app.contract.model_folder import ModelDescription
from app.contract.operations import input_kinds, operations_of, parameters_of
from app.contract.parameters import MAX_TEXT_CHARACTERS
from app.contract.specs import BatchPredictSpec
from app.db.tables import DatasetRow
from app.services.jobs.bodies import listed
from app.services.jobs.model_jobs import PlannedModelJob, check_shape, found, named, refused
from app.settings import Settings


def plan_prediction(
    session: Session, project_id: str, spec: BatchPredictSpec, settings: Settings
) -> PlannedModelJob[BatchPredictSpec]:
    """The spec then tells the operation and all its parameters. Raises InvalidRequest, naming the field, the value and
    the remedy."""
    planned = found(session, project_id, spec, settings)
    description, dataset = planned.description, planned.dataset
    operation = spec.operation or _first_that_fits(description, dataset)
    _check_operation(operation, description)
    _check_data(operation, description, dataset)
    parameters = _checked_parameters(operation, description, spec.parameters)
    told = spec.model_copy(update={"operation": operation, "parameters": parameters})
    return PlannedModelJob(told, dataset, planned.model)


def _first_that_fits(model: ModelDescription, dataset: DatasetRow) -> Operation:
    """Or the first of all, for the refusal to name."""
    answered = operations_of(model)
    return next((each for each in answered if dataset.kind in input_kinds(each, model)), answered[0])


def _check_operation(operation: Operation, model: ModelDescription) -> None:
    answered = operations_of(model)
    if operation not in answered:
        raise refused(
            f"{named(model)} does not answer {operation}; it answers {listed(answered)}.",
            "operation",
            ErrorCode.OPERATION_NOT_SUPPORTED,
        )


def _check_data(operation: Operation, model: ModelDescription, dataset: DatasetRow) -> None:
    kinds = input_kinds(operation, model)
    if not kinds:
        others = [each for each in operations_of(model) if input_kinds(each, model)]
        raise refused(
            f"The operation {operation} of {named(model)} reads no inputs, so there is none for a record. Ask for "
            f"{listed(others)}, or POST /v1/models/{{model}}/{operation} once.",
            "operation",
            ErrorCode.OPERATION_NOT_SUPPORTED,
        )
    if dataset.kind not in kinds:
        raise refused(
            f"The operation {operation} of {named(model)} takes a data set of kind {listed(sorted(kinds))}; "
            f"{dataset.id} is of kind {dataset.kind}.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )
    check_shape(model, dataset)
    _check_single_text(dataset)


def _check_single_text(dataset: DatasetRow) -> None:
    """A .txt is one record, however long it is."""
    length = dataset.profile.get("length")
    if dataset.num_examples == 1 and length is not None and length["max"] > MAX_TEXT_CHARACTERS:
        raise refused(
            f"The data set {dataset.id} is one text of {length['max']:,} characters, and a model takes at most "
            f"{MAX_TEXT_CHARACTERS:,} of one. Upload it as .jsonl, .csv or .parquet, a record for each text.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )


def _checked_parameters(operation: Operation, model: ModelDescription, given: dict[str, Any]) -> dict[str, Any]:
    """With every default filled in. Texts are drawn by a seed, so that a run which was interrupted ends alike."""
    try:
        checked = parameters_of(operation, model).model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [
            FieldError(location=".".join(str(part) for part in ("parameters", *problem["loc"])), message=problem["msg"])
            for problem in problems
        ]
        raise InvalidRequest(
            f"The parameters are not those of {operation}. {errors[0].location}: {errors[0].message}", errors=errors
        ) from None
    told = checked.model_dump(mode="json")
    return told | {"seed": told["seed"] or 0} if "seed" in told else told
