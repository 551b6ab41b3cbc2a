"""Jobs for trainers: rows as the API would have made them, and the questions that tests ask about them."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.contract.checkpoint import FileEntry
from app.contract.inference import ModelReference
from app.contract.job import TERMINAL, JobStatus
from app.contract.layout import model_prefix
from app.contract.model_folder import DESCRIPTION_NAME, ModelDescription, model_digest
from app.contract.specs.job import training_spec_adapter
from app.db import jobs, models
from app.db.ids import new_id
from app.db.session import Database, now
from app.db.tables import (
    DEFAULT_PROJECT_ID,
    ArtifactRow,
    AttemptRow,
    CheckpointRow,
    DatasetRow,
    EventRow,
    JobRow,
    ModelRow,
    ProjectRow,
)
from app.services.jobs.control import retried
from app.storage import ArtifactStore
from tests.support.waiting import wait_until

BLOB = b'{"features": [1.0, 2.0, 3.0, 4.0]}\n'


@dataclass
class TrainingJobs:
    """`store` is where trainers with the same data_dir look."""

    database: Database
    store: ArtifactStore
    folder: Path
    dataset_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.dataset_id = self.dataset(BLOB)

    def dataset(
        self, data: bytes, *, filename: str = "vectors.jsonl", kind: str = "vectors", num_examples: int = 1
    ) -> str:
        dataset_id, digest = new_id("ds"), hashlib.sha256(data).hexdigest()
        source = self.folder / digest
        source.write_bytes(data)
        key = f"{DEFAULT_PROJECT_ID}/blobs/{digest}"
        self.store.put(key, source)
        with self.database.transaction() as session:
            session.merge(ProjectRow(id=DEFAULT_PROJECT_ID, name="default", created_at=now(session)))
            session.flush()
            session.add(
                DatasetRow(
                    id=dataset_id,
                    project_id=DEFAULT_PROJECT_ID,
                    name=filename,
                    filename=filename,
                    kind=kind,
                    columns={},
                    num_examples=num_examples,
                    size_bytes=len(data),
                    sha256=digest,
                    blob_key=key,
                    profile={},
                    warnings=[],
                    created_at=now(session),
                )
            )
        return dataset_id

    def import_model(self, folder: Path) -> str:
        """Register a model's folder, as an import would."""
        model_id = new_id("model")
        prefix = model_prefix(DEFAULT_PROJECT_ID, model_id)
        files = tuple(
            FileEntry(path=path.name, size_bytes=stored.size_bytes, sha256=stored.sha256)
            for path in sorted(folder.iterdir())
            for stored in [self.store.put(f"{prefix}/{path.name}", path)]
        )
        description = ModelDescription.model_validate_json((folder / DESCRIPTION_NAME).read_bytes())
        with self.database.transaction() as session:
            models.register(
                session,
                project_id=DEFAULT_PROJECT_ID,
                name=None,
                kind=description.kind,
                method=description.method,
                job_id=None,
                checkpoint_step=None,
                parent_model_id=None,
                dataset_id=None,
                reference=ModelReference(
                    model_id=model_id, digest=model_digest(files), artifact_prefix=prefix, files=files
                ),
                description=description,
                metrics={},
                size_bytes=sum(file.size_bytes for file in files),
                at=now(session),
            )
        return model_id

    def submit(
        self,
        *,
        steps: int = 6,
        checkpoint_every: int = 2,
        keep_checkpoints: int = 3,
        batch_size: int = 32,
        time_limit_seconds: int | None = None,
        labels: tuple[str, ...] = (),
        priority: int = 0,
        device: str = "auto",
        status: JobStatus = JobStatus.QUEUED,
        parent: str | None = None,
        checkpoint: str | None = None,
        parent_job_id: str | None = None,
        **script: object,
    ) -> str:
        """`script` is the metadata that `tests.support.scripted_training` obeys."""
        spec: dict[str, Any] = {
            "kind": "pretrain" if parent is None else "finetune",
            "dataset": self.dataset_id,
            "method": {"type": "autoencoder" if parent is None else "classification"},
            "training": {
                "duration": {"steps": steps},
                "checkpoint_every": {"steps": checkpoint_every},
                "keep_checkpoints": keep_checkpoints,
                "batch_size": batch_size,
            },
            "resources": {"time_limit_seconds": time_limit_seconds, "labels": labels},
            "priority": priority,
            "metadata": {name: _told(value) for name, value in script.items()},
        }
        if parent is not None:
            spec |= {"parent": parent, "checkpoint": checkpoint}
        return self.submit_spec(spec, device=device, status=status, parent_job_id=parent_job_id)

    def submit_spec(
        self,
        given: dict[str, Any],
        *,
        device: str = "auto",
        status: JobStatus = JobStatus.QUEUED,
        parent_job_id: str | None = None,
    ) -> str:
        spec = training_spec_adapter.validate_python(given)
        job_id = new_id("job")
        with self.database.transaction() as session:
            at = now(session)
            session.add(
                JobRow(
                    id=job_id,
                    project_id=DEFAULT_PROJECT_ID,
                    kind=spec.kind,
                    method=spec.method.type,
                    name="a job",
                    job_metadata=spec.metadata,
                    status=status.value,
                    spec=spec.model_dump(mode="json"),
                    dataset_id=spec.dataset,
                    parent_ref=given.get("parent"),
                    parent_job_id=parent_job_id,
                    device=device,
                    labels=sorted(spec.resources.labels),
                    priority=spec.priority,
                    progress={},
                    metrics={},
                    created_at=at,
                    queued_at=at if status is JobStatus.QUEUED else None,
                )
            )
        return job_id

    def ids(self) -> set[str]:
        """Of all jobs there are."""
        with self.database.reading() as session:
            return set(session.scalars(select(JobRow.id)))

    def get(self, job_id: str) -> JobRow:
        with self.database.reading() as session:
            return session.get_one(JobRow, job_id)

    def request_stop(self, job_id: str, request: str) -> None:
        """What the API does when a running job is to be cancelled or paused."""
        to = {"cancel": JobStatus.CANCELLING, "pause": JobStatus.PAUSING}[request]
        with self.database.transaction() as session:
            assert jobs.transition(session, job_id, to, when={JobStatus.RUNNING}, at=now(session), stop_request=request)

    def resume(self, job_id: str) -> None:
        """What the API does when a paused job is to go on."""
        with self.database.transaction() as session:
            at = now(session)
            assert jobs.transition(session, job_id, JobStatus.QUEUED, when={JobStatus.PAUSED}, at=at, queued_at=at)

    def retry(self, job_id: str) -> None:
        """What the API does when a job that failed is to go on."""
        with self.database.transaction() as session:
            at, move = now(session), retried(session, session.get_one(JobRow, job_id))
            assert jobs.transition(
                session, job_id, move.to, when={JobStatus.FAILED}, at=at, queued_at=at, **move.changes
            )

    def cancel_queued(self, job_id: str) -> None:
        """What the API does when a job that nobody runs is to be cancelled."""
        with self.database.transaction() as session:
            at = now(session)
            assert jobs.transition(session, job_id, JobStatus.CANCELLED, when={JobStatus.QUEUED}, at=at, finished_at=at)

    def wait_for(self, job_id: str, status: JobStatus, timeout_seconds: float = 60.0) -> JobRow:
        def reached() -> JobRow | None:
            row = self.get(job_id)
            ended_otherwise = row.status in TERMINAL and row.status != status
            assert not ended_otherwise, f"{row.status}: {row.error}, {self.attempts(job_id)}"
            return row if row.status == status else None

        return wait_until(reached, timeout_seconds, f"{job_id} should become {status}")

    def wait_for_step(self, job_id: str, step: int, timeout_seconds: float = 60.0) -> None:
        def reached() -> bool:
            return int(self.get(job_id).progress.get("step", 0)) >= step

        wait_until(reached, timeout_seconds, f"{job_id} should reach step {step}")

    def wait_for_trials(self, job_id: str, number: int) -> None:
        wait_until(lambda: len(self.get(job_id).trials or ()) >= number, 60.0, f"{job_id} should keep {number} trials")

    def wait_for_attempt(self, job_id: str, number: int) -> None:
        """To be claimed: all that the one before reported has been written."""
        wait_until(lambda: self.get(job_id).attempt >= number, 60.0, f"attempt {number} of {job_id} should begin")

    def wait_for_checkpoint(self, job_id: str, step: int) -> None:
        def published() -> bool:
            return any(row.step == step for row in self.checkpoints(job_id))

        wait_until(published, 60.0, f"{job_id} should publish its checkpoint of step {step}")

    def attempts(self, job_id: str) -> list[tuple[str | None, str | None]]:
        """(outcome, detail) of each, the first first."""
        with self.database.reading() as session:
            rows = session.scalars(select(AttemptRow).where(AttemptRow.job_id == job_id).order_by(AttemptRow.number))
            return [(row.outcome, row.detail) for row in rows]

    def outcomes(self, job_id: str) -> list[str | None]:
        return [outcome for outcome, _ in self.attempts(job_id)]

    def events(self, job_id: str, event_type: str) -> list[dict[str, Any]]:
        with self.database.reading() as session:
            rows = session.scalars(
                select(EventRow).where(EventRow.job_id == job_id, EventRow.type == event_type).order_by(EventRow.id)
            )
            return [row.data for row in rows]

    def statuses(self, job_id: str) -> list[str]:
        return [event["status"] for event in self.events(job_id, "status")]

    def checkpoints(self, job_id: str) -> list[CheckpointRow]:
        with self.database.reading() as session:
            query = select(CheckpointRow).where(CheckpointRow.job_id == job_id).order_by(CheckpointRow.step)
            return list(session.scalars(query))

    def artifacts(self, job_id: str) -> dict[str, bytes]:
        """The content of each artifact, by name."""
        return {name: self.read_bytes(key) for name, key in self.artifact_keys(job_id).items()}

    def artifact_keys(self, job_id: str) -> dict[str, str]:
        with self.database.reading() as session:
            rows = session.scalars(select(ArtifactRow).where(ArtifactRow.job_id == job_id)).all()
        return {row.name: row.key for row in rows}

    def model(self, job_id: str) -> ModelRow:
        with self.database.reading() as session:
            return session.get_one(ModelRow, self.get(job_id).model_id)

    def model_by_id(self, model_id: str) -> ModelRow:
        with self.database.reading() as session:
            return session.get_one(ModelRow, model_id)

    def weights(self, job_id: str) -> str:
        """What the job's model holds."""
        return self.read(f"{self.model(job_id).reference['artifact_prefix']}/model.safetensors")

    def read(self, key: str) -> str:
        return self.read_bytes(key).decode()

    def read_bytes(self, key: str) -> bytes:
        with self.store.open(key) as file:
            return file.read()

    def overwrite(self, key: str, data: bytes) -> None:
        """What a failing disk does."""
        source = self.folder / "overwritten"
        source.write_bytes(data)
        self.store.put(key, source)

    def num_models(self) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(ModelRow)) or 0


def training_process(scratch: Path, job_id: str) -> int:
    """The process that prints to the log of the job's attempt."""
    (log,) = (scratch / "trainers").glob(f"*/{job_id}-*/training.log")
    (pid,) = (int(process.name) for process in Path("/proc").glob("[0-9]*") if _prints_to(process, log))
    return pid


def _prints_to(process: Path, log: Path) -> bool:
    try:
        return (process / "fd/1").samefile(log)
    except OSError:  # it has ended, or is another user's
        return False


def traced(path: Path) -> Counter[tuple[str, str, int]]:
    """How often each (what, job, attempt) stands in a trace file of scripted trainings."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return Counter((what, job_id, int(attempt)) for what, job_id, attempt, _, _ in lines)


def traced_pids(path: Path) -> list[int]:
    """The processes that have started training."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [int(pid) for what, _, _, pid, _ in lines if what == "start"]


def _told(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
