"""An evaluation as far as it is known when it is asked for: the model, and data that judge its method."""

from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode
from app.contract.model_folder import ModelDescription, label_key
from app.contract.operations import evaluation_kinds
from app.contract.specs import EvaluateSpec
from app.contract.tags import are_bio, mended
from app.db.tables import DatasetRow
from app.services.jobs.bodies import listed
from app.services.jobs.model_jobs import PlannedModelJob, check_shape, found, named, refused
from app.settings import Settings

MAX_LABELS_NAMED = 10


def plan_evaluation(
    session: Session, project_id: str, spec: EvaluateSpec, settings: Settings
) -> PlannedModelJob[EvaluateSpec]:
    """Raises InvalidRequest, naming the field, the value and the remedy."""
    planned = found(session, project_id, spec, settings)
    model, dataset = planned.description, planned.dataset
    _check_measured(model)
    _check_kind(model, dataset)
    check_shape(model, dataset)
    _check_targets(model, dataset)
    _check_labels(model, dataset)
    return planned


def _check_measured(model: ModelDescription) -> None:
    if model.headless:
        raise refused(
            f"{named(model)} tells nothing that data could judge. Fine-tune it, and evaluate what comes of that.",
            "model",
            ErrorCode.OPERATION_NOT_SUPPORTED,
        )
    if model.method == "gan":
        raise refused(
            "A GAN tells no likelihood of data, so no example can be judged by itself. Look at its samples (POST "
            "/v1/models/{model}/generate), and compare training jobs by validation_loss: the Frechet distance of "
            "samples to the validation examples.",
            "model",
            ErrorCode.OPERATION_NOT_SUPPORTED,
        )


def _check_kind(model: ModelDescription, dataset: DatasetRow) -> None:
    kinds = evaluation_kinds(model)
    if dataset.kind not in kinds:
        raise refused(
            f"{named(model)} is judged by a data set of kind {listed(sorted(kinds))}; {dataset.id} is of kind "
            f"{dataset.kind}.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )


def _check_targets(model: ModelDescription, dataset: DatasetRow) -> None:
    size = dataset.profile.get("target_size")
    if model.target_size is not None and size is not None and size != model.target_size:
        raise refused(
            f"An example of {dataset.id} has {size} targets, and the model tells {model.target_size}. Give a data set "
            f"with {model.target_size}.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )


def _check_labels(model: ModelDescription, dataset: DatasetRow) -> None:
    """As far as the profile counts them; the rest is found by reading."""
    counted = dataset.profile.get("labels")
    if model.labels is None or counted is None:
        return
    known = {label_key(label) for label in model.labels}
    unknown = [label for label in counted if not known & {label, *_read_as(label, known)}]
    if unknown:
        more = f" and {len(unknown) - MAX_LABELS_NAMED:,} more" if len(unknown) > MAX_LABELS_NAMED else ""
        raise refused(
            f"The data set {dataset.id} has labels that the model does not know: "
            f"{', '.join(unknown[:MAX_LABELS_NAMED])}{more}. It "
            f"knows {', '.join(sorted(known)[:MAX_LABELS_NAMED])}"
            f"{' and others' if len(known) > MAX_LABELS_NAMED else ''}. Leave those records out.",
            "dataset",
            ErrorCode.DATASET_INCOMPATIBLE,
        )


def _read_as(label: str, known: set[str]) -> list[str]:
    """An I-... that goes on with nothing begins a span, where tags tell spans."""
    return mended([label]) if are_bio(known) else []
