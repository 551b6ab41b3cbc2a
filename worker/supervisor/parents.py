"""Which model a job needs: pinned when it first starts if it was not before, whatever the user named."""

from sqlalchemy.orm import Session

from app.contract.checkpoint import CheckpointManifest
from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault
from app.contract.model_folder import ModelDescription
from app.contract.specs.job import named_step
from app.db import checkpoints, models
from app.db.session import now
from app.db.tables import CheckpointRow, JobRow, ModelRow
from worker.supervisor.failures import AttemptFailed


def pin_parent(session: Session, row: JobRow) -> ModelRow:
    """The model that a fine-tune starts from, or that a batch prediction asks, decided once. Raises AttemptFailed where
    there is none any more."""
    named = str(row.parent_ref)
    if row.parent_model_id is not None:
        model = models.resolve(session, row.project_id, row.parent_model_id)
    elif row.parent_job_id is not None:
        model = _model_of_job(session, session.get_one(JobRow, row.parent_job_id), row.spec["checkpoint"])
    else:
        model = models.resolve(session, row.project_id, named)
    if model is None:
        raise _missing(f"{named} does not exist any more.")
    row.parent_model_id = model.id
    session.flush()
    return model


def _model_of_job(session: Session, parent: JobRow, name: str | None) -> ModelRow | None:
    """`name` is that of a checkpoint; where there is none, the job's own model."""
    own = models.resolve(session, parent.project_id, parent.model_id) if parent.model_id else None
    if own is None or name is None:
        return own
    checkpoint = _named_checkpoint(session, parent, name)
    known = models.of_checkpoint(session, parent.id, checkpoint.step)
    description = ModelDescription.model_validate(own.description, strict=False)
    return known or models.register_checkpoint(session, parent, checkpoint, description, now(session))


def _named_checkpoint(session: Session, parent: JobRow, name: str) -> CheckpointRow:
    """`best`, `last` or `step:N` of a job."""
    rows = sorted(checkpoints.list_of(session, parent.id), key=lambda row: row.step)
    if name == "best":
        rows = [row for row in rows if CheckpointManifest.model_validate(row.manifest, strict=False).is_best] or rows
    elif name != "last":
        rows = [row for row in rows if row.step == named_step(name)]
    if not rows:
        raise _missing(f"The parent {parent.id} has no checkpoint {name}.")
    return rows[-1]


def _missing(message: str) -> AttemptFailed:
    return AttemptFailed(JobError(code=ErrorCode.NOT_FOUND, message=message, fault=Fault.USER))
