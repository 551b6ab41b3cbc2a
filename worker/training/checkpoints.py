"""Checkpoint folders: whole or not there. Knows no method and no loop, only what they give it to keep.

A folder is written beside its final place and renamed when it is whole; its manifest comes last. It is not synced:
no crash of the machine is survived by the folder it lies in, and the store syncs its copy while training goes on.
"""

import hashlib
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
    files_within,
)
from app.contract.model_folder import model_digest

_STATE_NAME = "state.pt"
_HALF_PRECISION = ("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16")


def environment(device: str) -> Environment:
    """Of this process. A GPU is told by its name: another model may sum in another order."""
    return Environment(
        torch=torch.__version__,
        cpu_capability=_cpu_capability(),
        num_threads=torch.get_num_threads(),
        device=device if device == "cpu" else f"{device} ({torch.cuda.get_device_name()})",
    )


def _cpu_capability() -> str:
    """All by which torch's libraries choose their kernels: the widest instructions, those for half precision, the CPU's
    name."""
    found = torch.cpu.get_capabilities()
    half_precision = (name for name in _HALF_PRECISION if found.get(name))
    return " ".join([torch.backends.cpu.get_cpu_capability(), *half_precision, f"({found.get('cpu_name', 'unknown')})"])


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
        files = tuple(_entry(path, unfinished) for path in sorted(unfinished.rglob("*")) if path.is_file())
        manifest = CheckpointManifest(
            step=step,
            files=files,
            metrics=dict(metrics),
            is_best=is_best,
            environment=environment,
            model_digest=model_digest(files_within(MODEL_FOLDER, files)),
        )
        (unfinished / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2))
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    return folder


def read_state(folder: Path) -> dict[str, Any]:
    """What `write_checkpoint` was given as `state`, on the CPU. Runs no code of the file's."""
    state: dict[str, Any] = torch.load(folder / TRAINER_FOLDER / _STATE_NAME, map_location="cpu", weights_only=True)
    return state


def _entry(path: Path, root: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path=path.relative_to(root).as_posix(), size_bytes=path.stat().st_size, sha256=digest)
