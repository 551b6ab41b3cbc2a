"""The rules of evaluations: reports that belong to a model, what each unit adds to them, and two beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path

from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import ErrorCode, InvalidRequest, NotFound
from app.contract.evaluations import (
    UNITS_MEDIA_TYPE,
    UNITS_NAME,
    Comparison,
    EvaluationReport,
    Figure,
    Unit,
)
from app.db import evaluations, models
from app.db.session import Database
from app.db.tables import DatasetRow, EvaluationRow
from app.services.files import Download, chunks_of, opened, remove_files
from app.services.paging import cut, id_before
from app.storage import ArtifactStore


class EvaluationSummary(Contract):
    """What an evaluation found, in short. Its id is that of its job, but for the prefix."""

    id: str
    model_id: str
    job_id: str
    dataset_id: str
    method: str
    unit: Unit
    num_units: int
    measures: dict[str, Figure]
    created_at: datetime


class EvaluationView(EvaluationSummary):
    """The same with all that it found."""

    report: EvaluationReport


class EvaluationPage(Contract):
    data: list[EvaluationSummary]
    next_cursor: str | None


class ComparisonView(Comparison):
    """`first` and `second` are the evaluations, in the order in which they were named."""

    first: EvaluationSummary
    second: EvaluationSummary


@dataclass(frozen=True, slots=True)
class Evaluations:
    database: Database
    store: ArtifactStore

    def page(self, project_id: str, model_ref: str, cursor: str | None, limit: int) -> EvaluationPage:
        """Those of a model, by its id or an alias, the newest first."""
        before_id = id_before(cursor, "eval")
        with self.database.reading() as session:
            model = models.resolve(session, project_id, model_ref)
            if model is None:
                raise NotFound(f"There is no model {model_ref!r}.")
            found = evaluations.page(session, model.id, before_id=before_id, limit=limit + 1)
        rows, next_cursor = cut(found, limit)
        return EvaluationPage(data=[_summary(row) for row in rows], next_cursor=next_cursor)

    def get(self, project_id: str, evaluation_id: str) -> EvaluationView:
        with self.database.reading() as session:
            row = _row(session, project_id, evaluation_id)
        return EvaluationView(**dict(_summary(row)), report=_report(row))

    def on_same_data(self, project_id: str, evaluation_id: str, limit: int) -> list[EvaluationSummary]:
        """Others of the project that judged the same bytes, the newest first."""
        with self.database.reading() as session:
            row = _row(session, project_id, evaluation_id)
            return [_summary(other) for other in evaluations.on_same_data(session, row, limit)]

    def units(self, project_id: str, evaluation_id: str) -> Download:
        """What each unit adds, as it was stored; the file is open when this returns."""
        with self.database.reading() as session:
            row = _row(session, project_id, evaluation_id)
        file = opened(self.store, row.units_key, row.id)
        name = f"{row.id}-{UNITS_NAME}"
        return Download(name, UNITS_MEDIA_TYPE, chunks_of(file), row.units_size_bytes, row.units_sha256)

    def compare(self, project_id: str, first_id: str, second_id: str) -> ComparisonView:
        """Raises InvalidRequest where the two did not judge the same."""
        from app.evaluation.comparing import NotComparable, Side, compare  # noqa: PLC0415  numpy costs an api 0.1 s
        from app.evaluation.units import read_units  # noqa: PLC0415  likewise

        with self.database.reading() as session:
            rows = [_row(session, project_id, evaluation_id) for evaluation_id in (first_id, second_id)]
            _check_same_data([session.get_one(DatasetRow, row.dataset_id) for row in rows], rows)
        names = [row.model_id if rows[0].model_id != rows[1].model_id else row.id for row in rows]
        sides = []
        for row, name in zip(rows, names, strict=True):
            with opened(self.store, row.units_key, row.id) as file:
                sides.append(Side(_report(row), read_units(BytesIO(file.read())), name))
        try:
            found = compare(sides[0], sides[1])
        except NotComparable as error:
            raise InvalidRequest(str(error), code=ErrorCode.VALIDATION_FAILED) from None
        return ComparisonView(**dict(found), first=_summary(rows[0]), second=_summary(rows[1]))

    def delete(self, project_id: str, evaluation_id: str) -> None:
        """Its job keeps what it made, if it is still there."""
        with self.database.transaction() as session:
            row = _row(session, project_id, evaluation_id)
            evaluations.delete(session, row)
            keys = [each.units_key for each in own_units(session, [row])]
        remove_files(self.store, keys)


def own_units(session: Session, rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
    """Those with which the file of their units goes: no job has it any more."""
    return [row for row in rows if not evaluations.has_artifact(session, row)]


def _row(session: Session, project_id: str, evaluation_id: str) -> EvaluationRow:
    row = evaluations.get(session, project_id, evaluation_id)
    if row is None:
        raise NotFound(f"There is no evaluation {evaluation_id!r}.")
    return row


def _report(row: EvaluationRow) -> EvaluationReport:
    return EvaluationReport.model_validate(row.report)


def _summary(row: EvaluationRow) -> EvaluationSummary:
    report = _report(row)
    return EvaluationSummary(
        id=row.id,
        model_id=row.model_id,
        job_id=row.job_id,
        dataset_id=row.dataset_id,
        method=report.method,
        unit=report.unit,
        num_units=report.num_units,
        measures=report.measures,
        created_at=row.created_at,
    )


def _check_same_data(datasets: Sequence[DatasetRow], rows: Sequence[EvaluationRow]) -> None:
    """The same bytes, read in the same way."""
    one, other = datasets
    if _identity(one) != _identity(other):
        raise InvalidRequest(
            f"{rows[0].id} judged the data set {one.id} ({one.name}) and {rows[1].id} the data set {other.id} "
            f"({other.name}), which hold other data. Evaluate both models on one data set, and compare those."
        )


def _identity(dataset: DatasetRow) -> tuple[object, ...]:
    return dataset.sha256, dataset.kind, dataset.columns, Path(dataset.filename).suffix.lower()
