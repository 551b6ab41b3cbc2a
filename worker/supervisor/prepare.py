"""From a claimed job to its assignment: pins the parent, and brings every input to a local path."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.contract.checkpoint import CheckpointManifest
from app.contract.inference import ModelReference
from app.contract.messages import Assignment, DatasetInput, Resolved
from app.contract.specs.job import FinetuneSpec, PretrainSpec, job_spec_adapter
from app.db import checkpoints
from app.db.session import Database
from app.db.tables import CheckpointRow, DatasetRow, JobRow
from app.storage import ArtifactStore
from worker.supervisor.failures import damaged_input
from worker.supervisor.inputs import Corrupted, fetch_checkpoint, fetch_dataset, fetch_model
from worker.supervisor.lease import LeaseKeeper
from worker.supervisor.parents import pin_parent
from worker.supervisor.smaller_batches import as_resolved

OUTPUT_FOLDER = "output"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`resumed` is the manifest of the checkpoint that the assignment resumes from."""

    assignment: Assignment
    resumed: CheckpointManifest | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares one attempt under `folder`. `warn` tells the job's user of what was found damaged."""

    database: Database
    store: ArtifactStore
    lease: LeaseKeeper
    folder: Path
    cache_dir: Path
    warn: Callable[[str], None]

    def run(self, job: JobRow) -> Prepared:
        """Raises AttemptFailed, LeaseLost, and OSError where the store fails."""
        spec, resolved = spec_of(job), resolved_of(job)
        (self.folder / OUTPUT_FOLDER).mkdir()
        resume_from, manifest = self._resume(job.id)
        assignment = Assignment(
            job_id=job.id,
            attempt=job.attempt,
            spec=spec.model_copy(update={"training": as_resolved(spec.training, resolved)}),
            dataset=self._dataset(job.dataset_id),
            validation_dataset=self._dataset(job.validation_dataset_id) if job.validation_dataset_id else None,
            parent_model=self._parent(spec) if isinstance(spec, FinetuneSpec) else None,
            resume_from=resume_from,
            resolved=resolved,
            output_dir=self.folder / OUTPUT_FOLDER,
            cache_dir=self.cache_dir,
        )
        return Prepared(assignment, manifest)

    def _dataset(self, dataset_id: str) -> DatasetInput:
        with self.database.reading() as session:
            row = session.get_one(DatasetRow, dataset_id)
        try:
            return fetch_dataset(self.store, row, self.cache_dir)
        except Corrupted as error:
            raise damaged_input(f"The data set {dataset_id}", error) from error

    def _parent(self, spec: FinetuneSpec) -> Path:
        model = self.lease.write(lambda session, row: pin_parent(session, row, spec))
        reference = ModelReference.model_validate(model.reference, strict=False)
        try:
            return fetch_model(self.store, reference, self.folder / "parent")
        except Corrupted as error:
            raise damaged_input(f"The parent model {model.id}", error) from error

    def _resume(self, job_id: str) -> tuple[Path, CheckpointManifest] | tuple[None, None]:
        """The newest checkpoint whose every byte is as it was written."""
        with self.database.reading() as session:
            rows = sorted(checkpoints.list_of(session, job_id), key=lambda row: row.step, reverse=True)
        for row in rows:
            try:
                return self._fetched(row)
            except Corrupted as error:
                self.warn(f"The checkpoint of step {row.step} is damaged and was passed over: {error}.")
        return None, None

    def _fetched(self, row: CheckpointRow) -> tuple[Path, CheckpointManifest]:
        manifest = CheckpointManifest.model_validate(row.manifest, strict=False)
        folder = self.folder / f"resume-{row.step}"
        return fetch_checkpoint(self.store, row.artifact_prefix, manifest, folder), manifest


def spec_of(job: JobRow) -> PretrainSpec | FinetuneSpec:
    return job_spec_adapter.validate_json(json.dumps(job.spec))


def resolved_of(job: JobRow) -> Resolved | None:
    return None if job.resolved is None else Resolved.model_validate(job.resolved)
