"""The end of a job that has ended: its checkpoints, files, events and metrics go. Its models keep their own files."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.contract.errors import Conflict
from app.contract.job import TERMINAL
from app.contract.layout import job_prefix
from app.db import evaluations, jobs, models, references, sweeps
from app.db.session import Database, now
from app.db.tables import JobRow
from app.services.deletion import Deletion, deletion_of, refuse_deletion
from app.services.files import remove_files
from app.services.jobs.lookup import job_of
from app.storage import ArtifactStore, StoredKey


@dataclass(frozen=True, slots=True)
class JobDeletion:
    database: Database
    store: ArtifactStore

    def preview(self, project_id: str, job_id: str) -> Deletion:
        with self.database.reading() as session:
            row = job_of(session, project_id, job_id)
            blocked_by = [_not_ended(row)] if row.status not in TERMINAL else _needs(session, row)
            kept_models = models.ids_of_job(session, job_id)
            kept = references.files_beyond_job(session, job_id)
            kept_evaluations = evaluations.ids_of_job(session, job_id)
        stays = [f"These models stay usable, and keep their files: {', '.join(kept_models)}."] if kept_models else []
        stays += [f"The evaluation {each} stays with its model." for each in kept_evaluations]
        return deletion_of((file.size_bytes for file in self._files(project_id, job_id, kept)), blocked_by, stays)

    def delete(self, project_id: str, job_id: str) -> None:
        """Raises Conflict for a job that has not ended, or that children are still to start from."""
        with self.database.transaction() as session:
            row = job_of(session, project_id, job_id, lock="update")
            if row.status not in TERMINAL:
                raise Conflict(_not_ended(row))
            refuse_deletion(f"the job {job_id}", _needs(session, row))
            jobs.mark_deleted(session, row, now(session))
            kept = references.files_beyond_job(session, job_id)
        remove_files(self.store, (file.key for file in self._files(project_id, job_id, kept)))

    def _files(self, project_id: str, job_id: str, kept: set[str]) -> Sequence[StoredKey]:
        return [file for file in self.store.list(job_prefix(project_id, job_id)) if file.key not in kept]


def _not_ended(row: JobRow) -> str:
    return f"The job {row.id} is {row.status} and cannot be deleted: only a job that has ended can be. Cancel it first."


def _needs(session: Session, row: JobRow) -> list[str]:
    of_its_sweep = [row.sweep_id] if row.sweep_id and sweeps.is_unfinished(session, row.sweep_id) else []
    needs = {
        "Jobs that have not ended start from it": jobs.children_in_need(session, row.id),
        "Sweeps that have not ended start from it": sweeps.in_need(session, row.project_id, row.id),
        "It belongs to a sweep that has not ended": of_its_sweep,
    }
    return [f"{need}: {', '.join(names)}." for need, names in needs.items() if names]
