"""What refers to stored files, so that retention, deletion and the garbage collection leave them alone."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from app.contract.checkpoint import MANIFEST_NAME
from app.contract.layout import attempt_prefix
from app.contract.specs.job import named_step
from app.db.attempts import ACTIVE
from app.db.tables import ArtifactRow, CheckpointRow, DatasetRow, EvaluationRow, JobRow, ModelRow


def steps_in_use(session: Session, job_id: str) -> set[int]:
    """The steps whose checkpoint is a model, or is named by a fine-tune: also by one that has failed or was cancelled,
    since it may be retried."""
    models = session.scalars(
        select(ModelRow.checkpoint_step).where(ModelRow.job_id == job_id, ModelRow.checkpoint_step.is_not(None))
    )
    specs = session.scalars(select(JobRow.spec).where(JobRow.parent_job_id == job_id))
    named = (named_step(spec.get("checkpoint")) for spec in specs)
    return {step for step in (*models, *named) if step is not None}


def is_model_prefix(session: Session, job_id: str, artifact_prefix: str) -> bool:
    """Whether some model's files lie under `artifact_prefix` (a step may have been stored by several attempts)."""
    references = session.scalars(select(ModelRow.reference).where(ModelRow.job_id == job_id))
    return any(str(reference["artifact_prefix"]).startswith(f"{artifact_prefix}/") for reference in references)


class JobFiles(NamedTuple):
    """`keys` are referred to. Below `writing` an attempt that runs now may still store and then register files."""

    keys: set[str]
    writing: str | None


def files_of_job(session: Session, project_id: str, job_id: str) -> JobFiles:
    """Of any job, gone or not. Whether it runs is asked first: an attempt that has ended registers nothing more."""
    attempt = session.scalar(select(JobRow.attempt).where(JobRow.id == job_id, JobRow.status.in_(ACTIVE)))
    checkpoints = session.scalars(select(CheckpointRow).where(CheckpointRow.job_id == job_id))
    keys = {key for row in checkpoints for key in checkpoint_keys(row)}
    keys.update(session.scalars(select(ArtifactRow.key).where(ArtifactRow.job_id == job_id)))
    keys.update(files_beyond_job(session, job_id))
    return JobFiles(keys, None if attempt is None else attempt_prefix(project_id, job_id, attempt))


def files_beyond_job(session: Session, job_id: str) -> set[str]:
    """Those that a job made and others keep when it is deleted: its models, and the model that it evaluated."""
    references = session.scalars(select(ModelRow.reference).where(ModelRow.job_id == job_id))
    units = session.scalars(select(EvaluationRow.units_key).where(EvaluationRow.job_id == job_id))
    return {*units, *(key for reference in references for key in model_keys(reference))}


def files_of_model(session: Session, model_id: str) -> set[str]:
    reference = session.scalar(select(ModelRow.reference).where(ModelRow.id == model_id))
    return set(model_keys(reference)) if reference is not None else set()


class Reference(NamedTuple):
    """A file that a row refers to. `sha256` is null where no row tells it; such a file `is_needed` by nothing."""

    key: str
    sha256: str | None

    @property
    def is_needed(self) -> bool:
        return self.sha256 is not None


def all_files(session: Session) -> Iterator[Reference]:
    """Those of every row, first the checkpoints, which are the first to be given up. Columns, not rows, are read: any
    schema has these, but for a table that came later."""
    for prefix, manifest in session.execute(
        select(CheckpointRow.artifact_prefix, CheckpointRow.manifest).order_by(CheckpointRow.job_id, CheckpointRow.step)
    ):
        yield Reference(f"{prefix}/{MANIFEST_NAME}", None)
        yield from _referred(prefix, manifest["files"])
    for key, sha256 in session.execute(select(ArtifactRow.key, ArtifactRow.sha256)):
        yield Reference(key, sha256)
    for reference in session.scalars(select(ModelRow.reference)):
        yield from _referred(reference["artifact_prefix"], reference["files"])
    if inspect(session.connection()).has_table(EvaluationRow.__tablename__):
        for key, sha256 in session.execute(select(EvaluationRow.units_key, EvaluationRow.units_sha256)):
            yield Reference(key, sha256)
    blobs = select(DatasetRow.blob_key, DatasetRow.sha256).where(DatasetRow.deleted_at.is_(None))
    for key, sha256 in session.execute(blobs):
        yield Reference(key, sha256)


def _referred(prefix: str, files: Iterable[dict[str, Any]]) -> Iterator[Reference]:
    for entry in files:
        yield Reference(f"{prefix}/{entry['path']}", entry["sha256"])


def checkpoint_keys(row: CheckpointRow) -> Iterator[str]:
    yield f"{row.artifact_prefix}/{MANIFEST_NAME}"
    yield from (file.key for file in _referred(row.artifact_prefix, row.manifest["files"]))


def model_keys(reference: dict[str, Any]) -> Iterator[str]:
    yield from (file.key for file in _referred(reference["artifact_prefix"], reference["files"]))
