"""From a claimed job to its assignment: pins the model that it needs, and brings every input to a local path."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest, FileEntry
from app.contract.inference import ModelReference
from app.contract.messages import (
    AnyAssignment,
    Assignment,
    DatasetInput,
    EvaluationAssignment,
    ModelAssignment,
    PredictionAssignment,
    Resolved,
)
from app.contract.parts import is_part
from app.contract.specs.job import (
    AnySpec,
    BatchPredictSpec,
    EvaluateSpec,
    FinetuneSpec,
    ModelJobSpec,
    PretrainSpec,
    job_spec_adapter,
    training_spec_adapter,
)
from app.contract.trials import Trial
from app.db import artifacts, checkpoints
from app.db.session import Database
from app.db.tables import CheckpointRow, DatasetRow, JobRow
from worker.local_copies import Corrupted, LocalCopies, fetch_file, fetch_files
from worker.supervisor.failures import damaged_input
from worker.supervisor.lease import LeaseKeeper
from worker.supervisor.parents import pin_parent
from worker.supervisor.smaller_batches import as_resolved

OUTPUT_FOLDER = "output"
#: In it.
PARTS_FOLDER = "parts"


@dataclass(frozen=True, slots=True)
class Prepared:
    """`resumed` is the manifest of the checkpoint that the assignment resumes from."""

    assignment: AnyAssignment
    resumed: CheckpointManifest | None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares one attempt under `folder`. `in_use` keeps what lies in the cache there until it is closed. `warn` tells
    the job's user of what was found damaged; `heed` may break a transfer off."""

    database: Database
    copies: LocalCopies
    lease: LeaseKeeper
    folder: Path
    cache_dir: Path
    in_use: ExitStack
    warn: Callable[[str], None]
    heed: Callable[[], None]

    def run(self, job: JobRow) -> Prepared:
        """Raises AttemptFailed, LeaseLost, what `heed` raises, and OSError where the store fails."""
        (self.folder / OUTPUT_FOLDER).mkdir()
        match spec_of(job):
            case (BatchPredictSpec() | EvaluateSpec()) as spec:
                return Prepared(self._over_records(job, spec), None)
            case spec:
                return self._training(job, spec)

    def _training(self, job: JobRow, spec: PretrainSpec | FinetuneSpec) -> Prepared:
        resolved = resolved_of(job)
        resume_from, manifest = self._resume(job.id)
        assignment = Assignment(
            job_id=job.id,
            attempt=job.attempt,
            spec=spec.model_copy(update={"training": as_resolved(spec.training, resolved)}),
            dataset=self._dataset(job.dataset_id),
            validation_dataset=self._dataset(job.validation_dataset_id) if job.validation_dataset_id else None,
            parent_model=self._parent() if isinstance(spec, FinetuneSpec) else None,
            resume_from=resume_from,
            resolved=resolved,
            trials=trials_of(job),
            pause_at=job.pause_at,
            output_dir=self.folder / OUTPUT_FOLDER,
            cache_dir=self.cache_dir,
        )
        return Prepared(assignment, manifest)

    def _over_records(self, job: JobRow, spec: ModelJobSpec) -> ModelAssignment:
        common: dict[str, Any] = {
            "job_id": job.id,
            "attempt": job.attempt,
            "dataset": self._dataset(job.dataset_id),
            "num_records": self._row_of(job.dataset_id).num_examples,
            "model": self._parent(),
            "parts_dir": self._parts(job.id),
            "output_dir": self.folder / OUTPUT_FOLDER,
        }
        if isinstance(spec, EvaluateSpec):
            return EvaluationAssignment(spec=spec, cache_dir=self.cache_dir, **common)
        return PredictionAssignment(spec=spec, **common)

    def _parts(self, job_id: str) -> Path:
        """What earlier attempts have done; a part with a byte that is not as it was written is done again."""
        folder = self.folder / OUTPUT_FOLDER / PARTS_FOLDER
        folder.mkdir()
        with self.database.reading() as session:
            rows = [row for row in artifacts.list_of(session, job_id) if is_part(row.name)]
        for row in rows:
            name = PurePosixPath(row.name).name
            expected = FileEntry(path=name, size_bytes=row.size_bytes, sha256=row.sha256)
            try:
                fetch_file(self.copies.store, row.key, expected, folder / name, self.heed)
            except Corrupted as error:
                self.warn(f"{row.name} is damaged, and is made again: {error}.")
        return folder

    def _dataset(self, dataset_id: str) -> DatasetInput:
        row = self._row_of(dataset_id)
        expected = FileEntry(path=row.filename, size_bytes=row.size_bytes, sha256=row.sha256)
        try:
            entry = self.in_use.enter_context(self.copies.file(row.blob_key, expected, self.heed))
        except Corrupted as error:
            raise damaged_input(f"The data set {dataset_id}", error) from error
        return DatasetInput(
            path=entry.path, filename=row.filename, kind=row.kind, columns=row.columns, sha256=row.sha256
        )

    def _row_of(self, dataset_id: str) -> DatasetRow:
        with self.database.reading() as session:
            return session.get_one(DatasetRow, dataset_id)

    def _parent(self) -> Path:
        model = self.lease.write(pin_parent)
        reference = ModelReference.model_validate(model.reference, strict=False)
        try:
            return self.in_use.enter_context(self.copies.model(reference, self.heed)).path
        except Corrupted as error:
            raise damaged_input(f"The model {model.id}", error) from error

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
        fetch_files(self.copies.store, row.artifact_prefix, manifest.files, folder, self.heed)
        (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
        return folder, manifest


def spec_of(job: JobRow) -> AnySpec:
    return job_spec_adapter.validate_json(json.dumps(job.spec))


def training_spec_of(job: JobRow) -> PretrainSpec | FinetuneSpec:
    """Of a job that trains."""
    return training_spec_adapter.validate_json(json.dumps(job.spec))


def resolved_of(job: JobRow) -> Resolved | None:
    return None if job.resolved is None else Resolved.model_validate(job.resolved)


def trials_of(job: JobRow) -> tuple[Trial, ...]:
    return tuple(Trial.model_validate(trial, strict=False) for trial in job.trials or ())
