"""Checkpoint folders: whole or not there. Knows no method and no loop, only what they give it to keep.

A folder is written beside its final place and renamed when all of it lies on the disk; its manifest comes last.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from app.contract.checkpoint import (
    MANIFEST_NAME,
    MODEL_FOLDER,
    TRAINER_FOLDER,
    CheckpointManifest,
    Environment,
    FileEntry,
    checkpoint_folder_name,
)
from app.contract.model_folder import model_digest

_STATE_NAME = "state.pt"


def environment(device: str) -> Environment:
    """Of this process. A GPU is told by its name: another model may sum in another order."""
    return Environment(
        torch=torch.__version__,
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        num_threads=torch.get_num_threads(),
        device=device if device == "cpu" else f"{device} ({torch.cuda.get_device_name()})",
    )


def write_checkpoint(
    checkpoints_dir: Path,
    *,
    step: int,
    export: Callable[[Path], None],
    state: Mapping[str, Any],
    metrics: Mapping[str, float],
    is_best: bool,
    environment: Environment,
) -> Path:
    """`export` writes the model folder; `state` holds tensors and plain values. -> the finished folder"""
    folder = checkpoints_dir / checkpoint_folder_name(step)
    unfinished = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        model, trainer = unfinished / MODEL_FOLDER, unfinished / TRAINER_FOLDER
        model.mkdir(parents=True)
        trainer.mkdir()
        export(model)
        torch.save(dict(state), trainer / _STATE_NAME)
        manifest = CheckpointManifest(
            step=step,
            files=tuple(_entry(path, unfinished) for path in sorted(unfinished.rglob("*")) if path.is_file()),
            metrics=dict(metrics),
            is_best=is_best,
            environment=environment,
            model_digest=model_digest(_entry(path, model) for path in sorted(model.rglob("*")) if path.is_file()),
        )
        (unfinished / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2))
        _sync_all(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    _sync(checkpoints_dir)
    return folder


def read_state(folder: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given as `state`, on the CPU. Runs no code of the file's."""
    state: dict[str, Any] = torch.load(folder / TRAINER_FOLDER / _STATE_NAME, map_location="cpu", weights_only=True)
    return state


def _entry(path: Path, root: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path=path.relative_to(root).as_posix(), size_bytes=path.stat().st_size, sha256=digest)


def _sync_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
