"""The SQL of evaluations. A row never changes once it stands."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete as delete_from
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.contract.evaluations import EvaluationReport
from app.db.locking import Lock, locked
from app.db.tables import ArtifactRow, DatasetRow, EvaluationRow, JobRow


def id_of(job_id: str) -> str:
    """That of the evaluation which a job makes."""
    return job_id.replace("job_", "eval_", 1)


def register(
    session: Session, job: JobRow, report: EvaluationReport, units: ArtifactRow, at: datetime
) -> EvaluationRow:
    """The result of an evaluation's job, whose model is pinned."""
    row = EvaluationRow(
        id=id_of(job.id),
        project_id=job.project_id,
        model_id=job.parent_model_id,
        job_id=job.id,
        dataset_id=job.dataset_id,
        report=report.model_dump(mode="json"),
        units_key=units.key,
        units_size_bytes=units.size_bytes,
        units_sha256=units.sha256,
        created_at=at,
    )
    session.add(row)
    session.flush()
    return row


def get(session: Session, project_id: str, evaluation_id: str, *, lock: Lock | None = None) -> EvaluationRow | None:
    query = select(EvaluationRow).where(EvaluationRow.id == evaluation_id, EvaluationRow.project_id == project_id)
    return session.scalar(locked(query, lock))


def page(session: Session, model_id: str, *, before_id: str | None, limit: int) -> Sequence[EvaluationRow]:
    """Those of a model, the newest first, and those older than `before_id`."""
    query = select(EvaluationRow).where(EvaluationRow.model_id == model_id)
    if before_id is not None:
        query = query.where(EvaluationRow.id < before_id)
    return session.scalars(query.order_by(EvaluationRow.id.desc()).limit(limit)).all()


def of_model(session: Session, model_id: str) -> Sequence[EvaluationRow]:
    """All, the oldest first."""
    return session.scalars(
        select(EvaluationRow).where(EvaluationRow.model_id == model_id).order_by(EvaluationRow.id)
    ).all()


def on_same_data(session: Session, row: EvaluationRow, limit: int) -> Sequence[EvaluationRow]:
    """Others of the project, the newest first, that judged the same bytes."""
    mine = session.get_one(DatasetRow, row.dataset_id)
    query = (
        select(EvaluationRow)
        .join(DatasetRow, DatasetRow.id == EvaluationRow.dataset_id)
        .where(
            EvaluationRow.project_id == row.project_id,
            EvaluationRow.id != row.id,
            DatasetRow.sha256 == mine.sha256,
            DatasetRow.kind == mine.kind,
        )
    )
    return session.scalars(query.order_by(EvaluationRow.id.desc()).limit(limit)).all()


def ids_of_job(session: Session, job_id: str) -> Sequence[str]:
    return session.scalars(select(EvaluationRow.id).where(EvaluationRow.job_id == job_id)).all()


def has_artifact(session: Session, row: EvaluationRow) -> bool:
    """Whether its job, too, still has the file of its units."""
    return bool(session.scalar(select(exists().where(ArtifactRow.key == row.units_key))))


def delete(session: Session, row: EvaluationRow) -> None:
    """The row alone: its file is the caller's to delete, after the commit."""
    session.execute(delete_from(EvaluationRow).where(EvaluationRow.id == row.id))
