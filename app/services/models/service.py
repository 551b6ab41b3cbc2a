"""The rules of models: immutable results, the names that point at them, what is pinned, what keeps one from going."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.contract.checkpoint import MODEL_FOLDER
from app.contract.errors import ErrorCode, NotFound, ServiceError
from app.contract.evaluations import EvaluationReport
from app.contract.inference import ModelReference
from app.contract.model_folder import DESCRIPTION_NAME, ModelDescription
from app.db import aliases, checkpoints, evaluations, jobs, models, references, sweeps
from app.db.locking import Lock
from app.db.session import Database, now
from app.db.tables import CheckpointRow, DatasetRow, EvaluationRow, JobRow, ModelRow
from app.services.deletion import Deletion, deletion_of, refuse_deletion
from app.services.evaluations import own_units
from app.services.files import Download, opened, remove_files
from app.services.idempotency import Record
from app.services.jobs.lookup import job_of
from app.services.models.aliases import check_alias
from app.services.models.archive import zipped
from app.services.models.card import Evaluated, Generation, card
from app.services.models.pinning import pin
from app.services.models.views import Lineage, LineageEntry, ModelPage, ModelView, views_of
from app.services.paging import cut, id_before
from app.settings import Settings
from app.storage import ArtifactStore


@dataclass(frozen=True, slots=True)
class Models:
    """`ref` is a model's id or an alias."""

    database: Database
    store: ArtifactStore
    settings: Settings

    def page(
        self,
        project_id: str,
        *,
        method: str | None = None,
        job_id: str | None = None,
        name: str | None = None,
        cursor: str | None,
        limit: int,
    ) -> ModelPage:
        before_id = id_before(cursor, "model")
        wanted = {"method": method, "job_id": job_id, "name": name}
        with self.database.reading() as session:
            found = models.page(session, project_id, before_id=before_id, limit=limit + 1, **wanted)
            rows, next_cursor = cut(found, limit)
            return ModelPage(data=views_of(session, rows, self.settings), next_cursor=next_cursor)

    def get(self, project_id: str, ref: str) -> ModelView:
        with self.database.reading() as session:
            return views_of(session, [_model(session, project_id, ref)], self.settings)[0]

    def lineage(self, project_id: str, ref: str) -> Lineage:
        with self.database.reading() as session:
            generations = models.ancestry(session, _model(session, project_id, ref))
        return Lineage(data=[_entry(row) for row in generations])

    def archive(self, project_id: str, ref: str) -> Download:
        with self.database.reading() as session:
            row = _model(session, project_id, ref)
            line = [_generation(session, each) for each in models.ancestry(session, row)]
            evaluated = [_evaluated(session, each) for each in evaluations.of_model(session, row.id)]
        reference = ModelReference.model_validate(row.reference)
        if missing := [entry.path for entry in reference.files if not self.store.exists(_key(reference, entry.path))]:
            raise ServiceError(f"The store has lost {missing[0]} of {row.id}.", code=ErrorCode.MODEL_CORRUPTED)
        return Download(f"{row.id}.zip", "application/zip", zipped(self.store, reference, card(line, evaluated)))

    def promote(self, project_id: str, job_id: str, step: int, record: Record[ModelView] | None = None) -> ModelView:
        """The model of a checkpoint; one that is a model already stays that model.

        The description is read between two transactions. Under the job's lock its trainer cannot give the checkpoint
        up before it is registered. `record` as in `Jobs.submit`.
        """
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            checkpoint = _checkpoint(session, job_id, step)
        description = self._description(checkpoint)
        with self.database.transaction() as session:
            job = job_of(session, project_id, job_id, lock="update")
            checkpoint = _checkpoint(session, job_id, step)
            known = models.of_checkpoint(session, job_id, step)
            row = known or models.register_checkpoint(session, job, checkpoint, description, now(session))
            [view] = views_of(session, [row], self.settings)
            if record is not None:
                record(session, view)
            return view

    def put_alias(self, project_id: str, ref: str, alias: str) -> ModelView:
        """Point the alias at the model, wherever it pointed before. Raises InvalidRequest for a name that is none."""
        check_alias(alias)
        with self.database.transaction() as session:
            row = _model(session, project_id, ref, lock="share")
            aliases.put(session, project_id, alias, row.id, now(session))
            return views_of(session, [row], self.settings)[0]

    def delete_alias(self, project_id: str, ref: str, alias: str) -> None:
        with self.database.transaction() as session:
            row = _model(session, project_id, ref)
            if not aliases.delete(session, project_id, alias, row.id):
                raise NotFound(f"The model {row.id} has no alias {alias!r}.")

    def pin(self, project_id: str, ref: str) -> ModelView:
        """Let every replica keep the model in memory: the model itself, whatever becomes of an alias that named it.
        Raises InvalidRequest where no more fits."""
        with self.database.transaction() as session:
            row = _model(session, project_id, ref, lock="update")
            pin(session, row, self.settings)
            return views_of(session, [row], self.settings)[0]

    def unpin(self, project_id: str, ref: str) -> None:
        """It stays in memory until others need the room. Nothing changes where it is not pinned."""
        with self.database.transaction() as session:
            _model(session, project_id, ref, lock="update").pinned_at = None

    def delete(self, project_id: str, ref: str) -> None:
        """Its evaluations go too, and its files unless they are those of a checkpoint that its job keeps. Raises
        Conflict while an alias, a child or a job needs the model, or it is pinned."""
        with self.database.transaction() as session:
            row = _alone(session, _model(session, project_id, ref))
            refuse_deletion(f"the model {row.id}", _needs(session, row))
            jobs.forget_model(session, row.id)
            keys = _forget_evaluations(session, row)
            models.delete(session, row)
            keys += [] if _is_checkpoint(session, row) else references.model_keys(row.reference)
        remove_files(self.store, keys)

    def deletion(self, project_id: str, ref: str) -> Deletion:
        """What `delete` would do now."""
        with self.database.reading() as session:
            row = _model(session, project_id, ref)
            needs, is_checkpoint = _needs(session, row), _is_checkpoint(session, row)
            sizes = [each.units_size_bytes for each in own_units(session, evaluations.of_model(session, row.id))]
        if is_checkpoint:
            kept = f"The job {row.job_id} keeps the checkpoint of step {row.checkpoint_step}, and with it the files."
            return deletion_of(sizes, needs, [kept])
        return deletion_of([*sizes, *(entry["size_bytes"] for entry in row.reference["files"])], needs, [])

    def _description(self, checkpoint: CheckpointRow) -> ModelDescription:
        key = f"{checkpoint.artifact_prefix}/{MODEL_FOLDER}/{DESCRIPTION_NAME}"
        with opened(self.store, key, f"the checkpoint of step {checkpoint.step}") as file:
            return ModelDescription.model_validate_json(file.read())


def _model(session: Session, project_id: str, ref: str, lock: Lock | None = None) -> ModelRow:
    row = models.resolve(session, project_id, ref, lock=lock)
    if row is None:
        raise NotFound(f"There is no model {ref!r}.")
    return row


def _generation(session: Session, row: ModelRow) -> Generation:
    """Data sets keep their rows when they are deleted."""
    job = None if row.job_id is None else session.get_one(JobRow, row.job_id)
    ids = [] if job is None else [job.dataset_id, job.validation_dataset_id]
    return Generation(row, job, [session.get_one(DatasetRow, each) for each in ids if each is not None])


def _evaluated(session: Session, row: EvaluationRow) -> Evaluated:
    return Evaluated(EvaluationReport.model_validate(row.report), session.get_one(DatasetRow, row.dataset_id))


def _entry(row: ModelRow) -> LineageEntry:
    return LineageEntry(model_id=row.id, job_id=row.job_id, dataset_id=row.dataset_id, method=row.method)


def _key(reference: ModelReference, path: str) -> str:
    return f"{reference.artifact_prefix}/{path}"


def _checkpoint(session: Session, job_id: str, step: int) -> CheckpointRow:
    row = checkpoints.get(session, job_id, step)
    if row is None:
        steps = [str(other.step) for other in checkpoints.list_of(session, job_id)]
        raise NotFound(f"The job {job_id} has no checkpoint of step {step}; it keeps {', '.join(steps) or 'none'}.")
    return row


def _alone(session: Session, row: ModelRow) -> ModelRow:
    """The model, locked after its job as those lock them who make a child. Raises NotFound where it went meanwhile."""
    if row.job_id is not None:
        jobs.get(session, row.project_id, row.job_id, lock="update")
    return _model(session, row.project_id, row.id, lock="update")


def _forget_evaluations(session: Session, row: ModelRow) -> list[str]:
    """They go with the model; the keys of the files that go with them."""
    found = evaluations.of_model(session, row.id)
    for each in found:
        evaluations.delete(session, each)
    return [each.units_key for each in own_units(session, found)]


def _needs(session: Session, row: ModelRow) -> list[str]:
    """What keeps the model from going, in sentences."""
    needs = {
        "Aliases point at it": aliases.of_models(session, [row.id]).get(row.id, []),
        "Models were fine-tuned from it": models.children_of(session, row.id),
        "Jobs that have not ended start from it": models.jobs_in_need(session, row),
        "Sweeps that have not ended start from it": sweeps.in_need(session, row.project_id, row.id),
    }
    sentences = [f"{need}: {', '.join(names)}." for need, names in needs.items() if names]
    return sentences + (["It is pinned."] if row.pinned_at is not None else [])


def _is_checkpoint(session: Session, row: ModelRow) -> bool:
    """Whether the model's files are those of a checkpoint that its job still has."""
    if row.job_id is None or row.checkpoint_step is None:
        return False
    checkpoint = checkpoints.get(session, row.job_id, row.checkpoint_step)
    folder = f"{checkpoint.artifact_prefix}/{MODEL_FOLDER}" if checkpoint else None
    return bool(folder == row.reference["artifact_prefix"])
