"""The SQL of registered models. A row never changes once it stands, but for its pin."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete as delete_from
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.contract.checkpoint import MODEL_FOLDER, CheckpointManifest
from app.contract.inference import ModelReference
from app.contract.job import TERMINAL
from app.contract.model_folder import ModelDescription
from app.db import aliases
from app.db.ids import new_id
from app.db.locking import Lock, locked
from app.db.tables import CheckpointRow, JobRow, ModelRow

MAX_NAMED = 10


def register(
    session: Session,
    *,
    project_id: str,
    name: str | None,
    kind: str,
    method: str,
    job_id: str | None,
    checkpoint_step: int | None,
    parent_model_id: str | None,
    dataset_id: str | None,
    reference: ModelReference,
    description: ModelDescription,
    metrics: dict[str, float],
    size_bytes: int,
    at: datetime,
) -> ModelRow:
    """The id and the digest are those of the reference."""
    row = ModelRow(
        id=reference.model_id,
        project_id=project_id,
        name=name,
        kind=kind,
        method=method,
        job_id=job_id,
        checkpoint_step=checkpoint_step,
        parent_model_id=parent_model_id,
        dataset_id=dataset_id,
        digest=reference.digest,
        reference=reference.model_dump(mode="json"),
        description=description.model_dump(mode="json"),
        metrics=metrics,
        size_bytes=size_bytes,
        created_at=at,
    )
    session.add(row)
    session.flush()
    return row


def register_checkpoint(
    session: Session, job: JobRow, checkpoint: CheckpointRow, description: ModelDescription, at: datetime
) -> ModelRow:
    """The model that a checkpoint of the job holds."""
    manifest = CheckpointManifest.model_validate(checkpoint.manifest, strict=False)
    reference = ModelReference(
        model_id=new_id("model"),
        digest=manifest.model_digest,
        artifact_prefix=f"{checkpoint.artifact_prefix}/{MODEL_FOLDER}",
        files=manifest.model_files(),
    )
    return register(
        session,
        project_id=job.project_id,
        name=job.name,
        kind=job.kind,
        method=job.method,
        job_id=job.id,
        checkpoint_step=checkpoint.step,
        parent_model_id=job.parent_model_id,
        dataset_id=job.dataset_id,
        reference=reference,
        description=description,
        metrics=manifest.metrics,
        size_bytes=sum(entry.size_bytes for entry in reference.files),
        at=at,
    )


def get(session: Session, project_id: str, model_id: str, *, lock: Lock | None = None) -> ModelRow | None:
    """A new user of a model shares the lock on it; whoever deletes it wants it alone."""
    query = select(ModelRow).where(ModelRow.id == model_id, ModelRow.project_id == project_id)
    return session.scalar(locked(query, lock))


def resolve(session: Session, project_id: str, ref: str, *, lock: Lock | None = None) -> ModelRow | None:
    """The model of that id or, where there is none, the one that an alias of that name points at."""
    if found := get(session, project_id, ref, lock=lock):
        return found
    target = aliases.target(session, project_id, ref)
    return get(session, project_id, target, lock=lock) if target else None


def page(
    session: Session, project_id: str, *, before_id: str | None, limit: int, **columns: str | None
) -> Sequence[ModelRow]:
    """The newest first, and those older than `before_id`; of `columns`, those given must be equal."""
    equal = [getattr(ModelRow, column) == value for column, value in columns.items() if value is not None]
    query = select(ModelRow).where(ModelRow.project_id == project_id, *equal)
    if before_id is not None:
        query = query.where(ModelRow.id < before_id)
    return session.scalars(query.order_by(ModelRow.id.desc()).limit(limit)).all()


def by_step(session: Session, job_id: str) -> dict[int, str]:
    """The first model that was made of each of a job's checkpoints."""
    query = select(ModelRow.checkpoint_step, ModelRow.id).where(ModelRow.job_id == job_id)
    newest_first = session.execute(query.order_by(ModelRow.id.desc()))
    return {step: model_id for step, model_id in newest_first if step is not None}


def ids_of_job(session: Session, job_id: str) -> Sequence[str]:
    """All models that were made of a job's checkpoints."""
    return session.scalars(select(ModelRow.id).where(ModelRow.job_id == job_id).order_by(ModelRow.id)).all()


def of_checkpoint(session: Session, job_id: str, step: int) -> ModelRow | None:
    """The first model that was made of a checkpoint."""
    query = select(ModelRow).where(ModelRow.job_id == job_id, ModelRow.checkpoint_step == step)
    return session.scalar(query.order_by(ModelRow.id).limit(1))


def children_of(session: Session, model_id: str) -> Sequence[str]:
    """The first models that were fine-tuned from this one."""
    query = select(ModelRow.id).where(ModelRow.parent_model_id == model_id)
    return session.scalars(query.order_by(ModelRow.id).limit(MAX_NAMED)).all()


def jobs_in_need(session: Session, row: ModelRow) -> Sequence[str]:
    """The first jobs that have not ended and start, or started, from this model."""
    named = [JobRow.parent_model_id == row.id, JobRow.parent_ref == row.id]
    unpinned = JobRow.parent_model_id.is_(None)
    of_its_job = select(JobRow.id).where(JobRow.model_id == row.id)
    query = select(JobRow.id).where(
        JobRow.project_id == row.project_id,
        JobRow.status.not_in(TERMINAL),
        or_(*named, unpinned & JobRow.parent_job_id.in_(of_its_job)),
    )
    return session.scalars(query.order_by(JobRow.id).limit(MAX_NAMED)).all()


def ancestry(session: Session, row: ModelRow) -> list[ModelRow]:
    """The model behind those that it was fine-tuned from, the root first."""
    chain = [row]
    while (parent_id := chain[0].parent_model_id) is not None:
        chain.insert(0, session.get_one(ModelRow, parent_id))
    return chain


def pinned(session: Session) -> Sequence[ModelRow]:
    """Those of all projects that every replica keeps in memory, in the order in which they were pinned."""
    query = select(ModelRow).where(ModelRow.pinned_at.is_not(None))
    return session.scalars(query.order_by(ModelRow.pinned_at, ModelRow.id)).all()


def delete(session: Session, row: ModelRow) -> None:
    """The row alone: its files are the caller's to delete, after the commit."""
    session.execute(delete_from(ModelRow).where(ModelRow.id == row.id))
