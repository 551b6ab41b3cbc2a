"""What refers to a job's checkpoints, so that retention leaves it alone."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contract.job import TERMINAL
from app.db.tables import JobRow, ModelRow

STEP_PREFIX = "step:"


def steps_in_use(session: Session, job_id: str) -> set[int]:
    """The steps whose checkpoint is a model, or is named by a fine-tune that has not ended."""
    models = session.scalars(
        select(ModelRow.checkpoint_step).where(ModelRow.job_id == job_id, ModelRow.checkpoint_step.is_not(None))
    )
    specs = session.scalars(select(JobRow.spec).where(JobRow.parent_job_id == job_id, JobRow.status.not_in(TERMINAL)))
    named = [str(spec.get("checkpoint")) for spec in specs]
    steps = {int(name.removeprefix(STEP_PREFIX)) for name in named if name.startswith(STEP_PREFIX)}
    return steps | {step for step in models if step is not None}


def is_model_prefix(session: Session, job_id: str, artifact_prefix: str) -> bool:
    """Whether some model's files lie under `artifact_prefix` (a step may have been stored by several attempts)."""
    references = session.scalars(select(ModelRow.reference).where(ModelRow.job_id == job_id))
    return any(str(reference["artifact_prefix"]).startswith(f"{artifact_prefix}/") for reference in references)
