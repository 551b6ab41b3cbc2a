"""What refers to a job's checkpoints, so that retention leaves it alone."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contract.specs.job import named_step
from app.db.tables import JobRow, ModelRow


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
