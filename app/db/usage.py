"""What a project takes up now: jobs that wait, jobs that run, bytes in the store."""

from collections.abc import Collection

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.db.tables import ArtifactRow, CheckpointRow, DatasetRow, EvaluationRow, JobRow, ModelRow

RUNNING = (JobStatus.RUNNING, JobStatus.PAUSING, JobStatus.CANCELLING)
QUEUED = (JobStatus.QUEUED, JobStatus.WAITING)


def jobs_in(session: Session, project_id: str, statuses: Collection[JobStatus]) -> int:
    query = select(func.count()).where(JobRow.project_id == project_id, JobRow.status.in_(statuses))
    return session.scalar(query) or 0


def projects_with(statuses: Collection[JobStatus], least: int) -> Select[str]:
    """The projects that have at least so many jobs in these states."""
    query = select(JobRow.project_id).where(JobRow.status.in_(statuses))
    return query.group_by(JobRow.project_id).having(func.count() >= least)


def stored_bytes(session: Session, project_id: str) -> int:
    """Of data sets, checkpoints, artifacts, models and evaluations: bytes that several share are counted once."""
    blobs = (
        select(func.max(DatasetRow.size_bytes).label("size_bytes"))
        .where(DatasetRow.project_id == project_id, DatasetRow.deleted_at.is_(None))
        .group_by(DatasetRow.blob_key)
        .subquery()
    )
    of_jobs = [
        select(func.sum(table.size_bytes))
        .join(JobRow, JobRow.id == table.job_id)
        .where(JobRow.project_id == project_id)
        for table in (CheckpointRow, ArtifactRow)
    ]
    kept = exists().where(CheckpointRow.job_id == ModelRow.job_id, CheckpointRow.step == ModelRow.checkpoint_step)
    models = select(func.sum(ModelRow.size_bytes)).where(ModelRow.project_id == project_id, ~kept)
    of_artifact = exists().where(ArtifactRow.key == EvaluationRow.units_key)
    evaluations = select(func.sum(EvaluationRow.units_size_bytes)).where(
        EvaluationRow.project_id == project_id, ~of_artifact
    )
    queries = (select(func.sum(blobs.c.size_bytes)), *of_jobs, models, evaluations)
    return sum(int(session.scalar(query) or 0) for query in queries)
