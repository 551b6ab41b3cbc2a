"""The free disk of a trainer: a job that would not fit is not started, and its user is told what it waits for."""

import shutil
from collections.abc import Collection
from pathlib import Path

from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault
from app.contract.specs.job import TRAINING_KINDS
from app.db import attempts
from app.db.attempts import Room
from app.db.session import Database
from app.db.tables import JobRow
from app.settings import Settings

#: No object store tells how much it would take.
UNBOUNDED = 1 << 62


def free_room(settings: Settings) -> Room | None:
    """None where the disks do not tell: then an attempt that finds one full tells it."""
    store, *scratch = (_existing(path) for path in (settings.artifacts_dir, settings.scratch_dir, settings.cache_dir))
    try:
        free_bytes = min(shutil.disk_usage(path).free for path in scratch)
        if settings.store is not None:
            return Room(UNBOUNDED, free_bytes, shared=False)
        shared = any(path.stat().st_dev == store.stat().st_dev for path in scratch)
        return Room(shutil.disk_usage(store).free, free_bytes, shared)
    except OSError:
        return None


def tell_shortage(database: Database, devices: Collection[str], room: Room, labels: Collection[str] = ()) -> None:
    """Tell the jobs that would run here if there were room. Each is told once, so that looking again costs a read."""
    with database.reading() as session:
        if not attempts.any_without_room(session, devices, room, labels):
            return
    with database.transaction() as session:
        attempts.tell_without_room(session, devices, room, lambda job, to_store: _shortage(job, to_store, room), labels)


def _shortage(job: JobRow, to_store: int, room: Room) -> JobError:
    scratch = job.scratch_bytes or 0
    if room.store_bytes == UNBOUNDED:
        figures = f"it needs up to {_gigabytes(scratch)} beside the store and {_gigabytes(room.scratch_bytes)} are free"
    elif room.shared:
        figures = f"it needs up to {_gigabytes(to_store + scratch)} and {_gigabytes(room.store_bytes)} are free"
    else:
        figures = (
            f"it needs up to {_gigabytes(to_store)} in the store, where {_gigabytes(room.store_bytes)} are free, and "
            f"{_gigabytes(scratch)} beside it, where {_gigabytes(room.scratch_bytes)} are free"
        )
    message = (
        f"The job does not start: there is too little disk; {figures}. It starts by itself when there is room. Delete "
        f"jobs, models and data sets that are not needed, or make room on the disk{_smaller(job)}."
    )
    return JobError(code=ErrorCode.DISK_FULL, message=message, fault=Fault.INFRASTRUCTURE)


def _smaller(job: JobRow) -> str:
    if job.kind not in TRAINING_KINDS:
        return ""
    kept = job.spec["training"]["keep_checkpoints"]
    return f", or ask for the job with fewer training.keep_checkpoints than {kept}"


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.3f} GB"


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
