"""What this machine computes on, found without torch."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from app.contract.messages import CPU_QUEUE, GPU_QUEUE
from app.settings import Settings

LIST_GPUS = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
LIST_SECONDS = 30.0
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def detect_device(chosen: str | None) -> str:
    """`cpu` or `cuda`: what the operator chose, or else whether an NVIDIA driver is here and not hidden from us."""
    if chosen is not None:
        return chosen
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    has_driver = NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None
    return "cuda" if has_driver and not hidden else "cpu"


def gpus_of(device: str) -> tuple[str, ...]:
    """The GPUs that a trainer on `device` may use, as CUDA_VISIBLE_DEVICES names them: those that it names already, or
    all that the driver tells of. None where it computes on the CPU, and where nothing tells."""
    if device != "cuda":
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return _all_gpus() if named is None else tuple(name.strip() for name in named.split(",") if name.strip())


def num_slots(settings: Settings) -> int:
    """Jobs that a trainer runs at a time: as set, or one for each of its GPUs."""
    return settings.slots or max(1, len(gpus_of(detect_device(settings.device))))


@cache
def _all_gpus() -> tuple[str, ...]:
    """By UUID: the driver numbers GPUs in another order than CUDA."""
    try:
        listed = subprocess.run(LIST_GPUS, capture_output=True, text=True, timeout=LIST_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(listed.stdout.split())


def claimable_devices(device: str) -> tuple[str, ...]:
    """The values of a job's `device` that a trainer may claim. One with a GPU also runs what asks for a CPU."""
    return ("auto", "cpu", "cuda") if device == "cuda" else ("auto", "cpu")


def queues_of(device: str) -> tuple[str, ...]:
    """The wake-up queues that a trainer listens to."""
    return (GPU_QUEUE, CPU_QUEUE) if device == "cuda" else (CPU_QUEUE,)
