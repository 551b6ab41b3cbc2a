"""Whether a data set can be cut into the folds that are asked for: known before any is read."""

from pathlib import PurePosixPath

from app.contract.errors import FieldError, InvalidRequest
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.methods import Classification
from app.db.tables import DatasetRow

LOCATION = "training.validation_fold"
WITH_COLUMNS = (".csv", ".jsonl", ".parquet")


def check_fold(spec: PretrainSpec | FinetuneSpec, dataset: DatasetRow) -> None:
    """Raises InvalidRequest, naming what would fit."""
    asked = spec.training.validation_fold
    if asked is None:
        return
    if asked.group is not None:
        _check_group(asked.group, dataset)
    if dataset.kind != "text" and asked.count > dataset.num_examples:
        raise _refused(
            f"count is {asked.count}, and the data set {dataset.id} has {dataset.num_examples} examples. Give at most "
            "so many folds, or more data.",
            "count",
        )
    if isinstance(spec.method, Classification):
        _check_labels(asked.count, dataset)


def _check_group(column: str, dataset: DatasetRow) -> None:
    suffix = PurePosixPath(dataset.filename).suffix.lower()
    if dataset.kind == "text" or suffix not in WITH_COLUMNS:
        what = "is a stream of text, of which each fold is a stretch" if dataset.kind == "text" else f"is a {suffix}"
        raise _refused(
            f"group is {column!r}, and the data set {dataset.id} {what}. Examples are grouped by a column of a .csv, "
            ".jsonl or .parquet: upload it as one, or leave group out.",
            "group",
        )


def _check_labels(count: int, dataset: DatasetRow) -> None:
    labels: dict[str, int] = dataset.profile["labels"]
    rarest = min(labels, key=lambda label: labels[label])
    if labels[rarest] < count:
        raise _refused(
            f"count is {count}, and the label {rarest!r} of the data set {dataset.id} has {labels[rarest]} "
            f"examples: some fold would have none. Give at most {labels[rarest]} folds, or more examples of it.",
            "count",
        )


def _refused(message: str, name: str) -> InvalidRequest:
    message = message[0].upper() + message[1:]
    return InvalidRequest(message, errors=[FieldError(location=f"{LOCATION}.{name}", message=message)])
