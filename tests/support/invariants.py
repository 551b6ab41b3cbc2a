"""What must hold after any fault, read from the rows and the store: each broken promise in a sentence.

Sees a service at rest or at work. At work a reading may fall between two transactions, and then tells what will be
gone at the next look; what two writers or a torn file leave behind stays.
"""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.contract.checkpoint import MANIFEST_NAME, CheckpointManifest, FileEntry
from app.contract.inference import ModelReference
from app.contract.job import TERMINAL, TRANSITIONS, JobStatus
from app.db.attempts import ACTIVE
from app.db.session import Database, now
from app.db.tables import ArtifactRow, AttemptRow, CheckpointRow, DatasetRow, EventRow, JobRow, ModelRow
from app.storage import CHUNK_BYTES, ArtifactStore

POLL_SECONDS = 0.2

#: What only the holder of a lease may write.
FROM_ATTEMPTS = ("metrics", "checkpoint")


def wait_for_invariants(
    database: Database, store: ArtifactStore, damaged: Collection[str] = (), timeout_seconds: float = 30.0
) -> None:
    """Fails with what still does not hold after a while."""
    deadline = time.monotonic() + timeout_seconds
    while told := _told(database, store, damaged):
        assert time.monotonic() < deadline, "\n".join(told)
        time.sleep(POLL_SECONDS)


def _told(database: Database, store: ArtifactStore, damaged: Collection[str]) -> list[str]:
    with database.reading() as session:
        return violations(session, store, damaged)


def violations(session: Session, store: ArtifactStore, damaged: Collection[str] = ()) -> list[str]:
    """Empty where all is well. `damaged` are the keys of files that the test itself has spoilt."""
    at = now(session)
    told = [f"{history.job.id}: {what}" for history in _histories(session) for what in history.violations(at)]
    published = {key: entry for key, entry in _published(session) if key not in damaged}
    return told + list(_damaged_files(store, published))


@dataclass(frozen=True, slots=True)
class _History:
    """A job and its rows, each kind in order."""

    job: JobRow
    attempts: Sequence[AttemptRow]
    events: Sequence[EventRow]
    checkpoints: Sequence[CheckpointRow]

    def violations(self, at: datetime) -> Iterator[str]:
        yield from self._unrest(at)
        yield from self._open_attempts()
        yield from self._overlaps()
        yield from self._writes_outside_attempts()
        yield from self._impossible_events()

    def _unrest(self, at: datetime) -> Iterator[str]:
        """A job has ended, rests, or goes on under a lease."""
        job, status = self.job, JobStatus(self.job.status)
        if status in ACTIVE:
            if job.lease_owner is None or job.lease_expires_at is None or job.lease_expires_at < at:
                yield f"it is {status}, and nobody holds a valid lease"
        elif job.lease_owner is not None or job.lease_expires_at is not None:
            yield f"it is {status}, and {job.lease_owner} has a lease still"
        if (status in TERMINAL) != (job.finished_at is not None):
            yield f"it is {status}, and finished at {job.finished_at}"
        if status in TERMINAL and (status is JobStatus.FAILED) != (job.error is not None):
            yield f"it is {status}, and its error is {job.error}"

    def _open_attempts(self) -> Iterator[str]:
        """The one that holds the lease, and no other."""
        held = [self.job.attempt] if self.job.status in ACTIVE else []
        unfinished = [attempt.number for attempt in self.attempts if attempt.finished_at is None]
        if unfinished != held:
            yield f"the attempts {unfinished} have not ended, those with a lease are {held}"
        if [attempt.number for attempt in self.attempts] != list(range(1, self.job.attempt + 1)):
            yield f"its attempts are not 1 to {self.job.attempt}"

    def _overlaps(self) -> Iterator[str]:
        for earlier, later in pairwise(self.attempts):
            if earlier.finished_at is not None and later.started_at < earlier.finished_at:
                yield f"attempt {later.number} began before attempt {earlier.number} had ended"

    def _writes_outside_attempts(self) -> Iterator[str]:
        """What was accepted was accepted from the attempt that ran then."""
        for event in self.events:
            if event.type in FROM_ATTEMPTS and not any(_spans(attempt, event) for attempt in self.attempts):
                yield f"event {event.id} ({event.type}) was accepted while no attempt ran"
        by_number = {attempt.number: attempt for attempt in self.attempts}
        for checkpoint in self.checkpoints:
            attempt = by_number.get(checkpoint.attempt)
            if attempt is None or not _spans(attempt, checkpoint):
                yield f"checkpoint {checkpoint.step} is not from the time of attempt {checkpoint.attempt}"

    def _impossible_events(self) -> Iterator[str]:
        if [event.id for event in self.events] != list(range(1, len(self.events) + 1)):
            yield "the ids of its events have gaps"
        told = [JobStatus(event.data["status"]) for event in self.events if event.type == "status"]
        for before, after in pairwise(told):
            if after not in TRANSITIONS[before]:
                yield f"it went from {before} to {after}"
        if told and told[-1] != self.job.status:
            yield f"it is {self.job.status}, and told of {told[-1]} last"


def _spans(attempt: AttemptRow, written: EventRow | CheckpointRow) -> bool:
    ended = attempt.finished_at is None or written.created_at <= attempt.finished_at
    return ended and attempt.started_at <= written.created_at


def _histories(session: Session) -> Iterator[_History]:
    for job in session.scalars(select(JobRow)):
        attempts = select(AttemptRow).where(AttemptRow.job_id == job.id).order_by(AttemptRow.number)
        events = select(EventRow).where(EventRow.job_id == job.id).order_by(EventRow.id)
        checkpoints = select(CheckpointRow).where(CheckpointRow.job_id == job.id).order_by(CheckpointRow.step)
        yield _History(job, *(session.scalars(query).all() for query in (attempts, events, checkpoints)))


def _published(session: Session) -> Iterator[tuple[str, FileEntry | None]]:
    """Every key that a user can reach, and what must lie there; None where any content will do."""
    for checkpoint in session.scalars(select(CheckpointRow)):
        manifest = CheckpointManifest.model_validate(checkpoint.manifest, strict=False)
        yield from _under(checkpoint.artifact_prefix, manifest.files)
        yield f"{checkpoint.artifact_prefix}/{MANIFEST_NAME}", None
    for model in session.scalars(select(ModelRow)):
        reference = ModelReference.model_validate(model.reference, strict=False)
        yield from _under(reference.artifact_prefix, reference.files)
    for artifact in session.scalars(select(ArtifactRow)):
        yield artifact.key, FileEntry(path=artifact.name, size_bytes=artifact.size_bytes, sha256=artifact.sha256)
    for dataset in session.scalars(select(DatasetRow)):
        entry = FileEntry(path=dataset.filename, size_bytes=dataset.size_bytes, sha256=dataset.sha256)
        yield dataset.blob_key, entry


def _under(prefix: str, files: Iterable[FileEntry]) -> Iterator[tuple[str, FileEntry]]:
    return ((f"{prefix}/{entry.path}", entry) for entry in files)


def _damaged_files(store: ArtifactStore, published: Mapping[str, FileEntry | None]) -> Iterator[str]:
    for key, entry in published.items():
        if not store.exists(key):
            yield f"{key} is published, and is not in the store"
        elif entry is not None and (found := _digest(store, key)) != entry.sha256:
            yield f"{key} is published with the digest {entry.sha256}, and has {found}"


def _digest(store: ArtifactStore, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
