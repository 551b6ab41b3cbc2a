"""The parent of a fine-tune, as far as it is known when the job is asked for. A trainer pins it when the job starts."""

import re
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.job import TERMINAL, JobStatus
from app.contract.model_folder import ModelDescription
from app.contract.specs.job import TRAINING_KINDS, FinetuneSpec, PretrainSpec, named_step, training_spec_adapter
from app.contract.specs.methods import Autoencoder
from app.db import checkpoints, jobs, models
from app.db.tables import DatasetRow, JobRow, ModelRow
from app.services.jobs.bodies import Inheritance, pretrained_body

JOB_ID_PATTERN = r"job_[0-9a-f]{32}"
MAX_STEPS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Parent:
    """`name` is how messages call it. `job_id` is None where a model was named; `waits`: the job has not ended."""

    name: str
    inheritance: Inheritance
    job_id: str | None = None
    waits: bool = False


def find_parent(session: Session, project_id: str, spec: FinetuneSpec) -> Parent:
    """Raises InvalidRequest where there is no such parent, or none that a fine-tune could ever start from."""
    if re.fullmatch(JOB_ID_PATTERN, spec.parent):
        job = jobs.get(session, project_id, spec.parent, lock="share")  # held, with its checkpoints
        if job is not None:
            return _parent_job(session, job, spec)
    model = models.resolve(session, project_id, spec.parent, lock="share")
    if model is None:
        raise _refused(f"There is no job, model or alias {spec.parent!r}.", ErrorCode.VALIDATION_FAILED)
    if spec.checkpoint is not None:
        raise _refused(
            f"The parent {spec.parent} is a model, which is one checkpoint already: leave out `checkpoint` "
            f"{spec.checkpoint!r}, or name the job {model.job_id} as the parent.",
            ErrorCode.VALIDATION_FAILED,
            location="checkpoint",
        )
    return Parent(f"the model {spec.parent}", _of_model(model))


def _parent_job(session: Session, job: JobRow, spec: FinetuneSpec) -> Parent:
    name, status = f"the job {job.id}", JobStatus(job.status)
    if job.kind not in TRAINING_KINDS:
        raise _refused(
            f"The parent {job.id} is a batch prediction, which makes no model. The model that it asks is "
            f"{job.parent_model_id}: name that.",
            ErrorCode.PARENT_INCOMPATIBLE,
        )
    if status is JobStatus.SUCCEEDED:
        return Parent(name, _of_model(_result(session, job, spec)), job.id)
    if status in TERMINAL:
        raise _refused(
            f"The parent {job.id} has {status}, so there is nothing to start from. Retry it, or name another.",
            ErrorCode.PARENT_FAILED,
        )
    _check_step(session, job, spec)
    return Parent(name, _of_job(session, job), job.id, waits=True)


def _result(session: Session, job: JobRow, spec: FinetuneSpec) -> ModelRow:
    """The model of a job that succeeded, held against deletion."""
    model = models.get(session, job.project_id, job.model_id, lock="share") if job.model_id else None
    if model is None and job.trial is not None:
        raise _refused(
            f"The parent {job.id} is a trial of the sweep {job.sweep_id}, of which only the best becomes a model. "
            "Promote one of the job's checkpoints, and name that model.",
            ErrorCode.VALIDATION_FAILED,
        )
    if model is None:
        raise _refused(
            f"The model of the parent {job.id} was deleted. Promote one of the job's checkpoints, and name that model.",
            ErrorCode.VALIDATION_FAILED,
        )
    _check_step(session, job, spec)
    return model


def _check_step(session: Session, job: JobRow, spec: FinetuneSpec) -> None:
    """Of a parent that still trains, a later step may come; an earlier one that is not there was given up."""
    step, kept = named_step(spec.checkpoint), [row.step for row in checkpoints.list_of(session, job.id)]
    if step is None or step in kept:
        return
    if job.status != JobStatus.SUCCEEDED and (not kept or step > kept[-1]):
        return
    told = ", ".join(str(step) for step in kept[-MAX_STEPS_NAMED:]) or "none"
    raise _refused(
        f"The parent {job.id} has no checkpoint {spec.checkpoint}; it keeps those of the steps {told}.",
        ErrorCode.VALIDATION_FAILED,
        location="checkpoint",
    )


def _of_job(session: Session, job: JobRow) -> Inheritance:
    """Its method, and the rest of its model where there is one; else what its spec, or that of its own parent, leads
    to."""
    return replace(_origin(session, job), method=job.method)


def _origin(session: Session, job: JobRow) -> Inheritance:
    while job.model_id is None:
        spec = training_spec_adapter.validate_python(job.spec)
        if isinstance(spec, PretrainSpec):
            variational = isinstance(spec.method, Autoencoder) and spec.method.variational is not None
            body = pretrained_body(spec, session.get_one(DatasetRow, job.dataset_id))
            return Inheritance(spec.method.type, body, variational)
        if job.parent_job_id is None:
            return _of_model(_named_model(session, job))
        job = session.get_one(JobRow, job.parent_job_id)
    return _of_model(session.get_one(ModelRow, job.model_id))


def _named_model(session: Session, job: JobRow) -> ModelRow:
    """The model that an unfinished fine-tune starts from: nothing can delete it before the job has ended."""
    model = models.resolve(session, job.project_id, job.parent_model_id or str(job.parent_ref))
    if model is None:
        raise _refused(f"The parent {job.id} starts from {job.parent_ref}, which is gone.", ErrorCode.PARENT_FAILED)
    return model


def _of_model(model: ModelRow) -> Inheritance:
    description = ModelDescription.model_validate(model.description, strict=False)
    method = f"{description.method} without its head" if description.headless else description.method
    return Inheritance(method, description.body, description.variational)


def _refused(message: str, code: ErrorCode, location: str = "parent") -> InvalidRequest:
    return InvalidRequest(message, code=code, errors=[FieldError(location=location, message=message)])
