"""The rows of what an attempt has published. Every function runs in a transaction that holds the attempt's lease."""

from collections.abc import Collection, Sequence

from sqlalchemy.orm import Session

from app.contract.parts import is_part
from app.db import artifacts, checkpoints, duties, events, references
from app.db.session import now
from app.db.tables import CheckpointRow, JobRow
from worker.supervisor.publish import PublishedArtifact, PublishedCheckpoint


def record_artifact(session: Session, row: JobRow, artifact: PublishedArtifact) -> None:
    artifacts.upsert(
        session,
        job_id=row.id,
        name=artifact.name,
        key=artifact.key,
        media_type=artifact.media_type,
        size_bytes=artifact.stored.size_bytes,
        sha256=artifact.stored.sha256,
        at=now(session),
    )


def forget_parts(session: Session, row: JobRow) -> list[str]:
    """A job that goes over a data set has its result in one file: its parts go, and their keys are for the caller to
    delete. While a backup copies files there are none, as of checkpoints."""
    parts = [artifact for artifact in artifacts.list_of(session, row.id) if is_part(artifact.name)]
    for part in parts:
        session.delete(part)
    return [] if duties.is_held(session, duties.BACKUP, now(session)) else [part.key for part in parts]


def record_checkpoint(
    session: Session, row: JobRow, published: PublishedCheckpoint, keep_checkpoints: int
) -> list[str]:
    """Write the row and tell it; the prefixes that nothing refers to any more, for the caller to delete. While a backup
    copies files there are none: what is given up then goes by the garbage collection."""
    manifest, at = published.manifest, now(session)
    replaced = checkpoints.get(session, row.id, manifest.step)
    dropped = set() if replaced is None else {replaced.artifact_prefix}
    checkpoints.upsert(
        session,
        job_id=row.id,
        step=manifest.step,
        attempt=row.attempt,
        artifact_prefix=published.prefix,
        manifest=manifest.model_dump(mode="json"),
        size_bytes=published.size_bytes,
        at=at,
    )
    told = {
        "step": manifest.step,
        "metrics": manifest.metrics,
        "size_bytes": published.size_bytes,
        "is_best": manifest.is_best,
    }
    events.append(session, row.id, "checkpoint", told, at)
    dropped = (dropped | _retire(session, row.id, keep_checkpoints)) - {published.prefix}
    if duties.is_held(session, duties.BACKUP, at):
        return []
    return [prefix for prefix in dropped if not references.is_model_prefix(session, row.id, prefix)]


def surplus(
    rows: Sequence[CheckpointRow], *, keep_checkpoints: int, referenced_steps: Collection[int]
) -> list[CheckpointRow]:
    """The checkpoints to give up: all but the newest, the best so far, and those that a model or a job refers to."""
    by_step = sorted(rows, key=lambda row: row.step)
    best = [row.step for row in by_step if row.manifest["is_best"]]
    kept = {row.step for row in by_step[-keep_checkpoints:]} | set(best[-1:]) | set(referenced_steps)
    return [row for row in by_step if row.step not in kept]


def _retire(session: Session, job_id: str, keep_checkpoints: int) -> set[str]:
    retired = surplus(
        checkpoints.list_of(session, job_id),
        keep_checkpoints=keep_checkpoints,
        referenced_steps=references.steps_in_use(session, job_id),
    )
    for checkpoint in retired:
        checkpoints.delete(session, job_id, checkpoint.step)
    return {checkpoint.artifact_prefix for checkpoint in retired}
