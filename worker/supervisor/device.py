"""What this machine computes on, found without torch."""

import os
import shutil
from pathlib import Path

from app.contract.messages import CPU_QUEUE, GPU_QUEUE

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def detect_device(chosen: str | None) -> str:
    """`cpu` or `cuda`: what the operator chose, or else whether an NVIDIA driver is here and not hidden from us."""
    if chosen is not None:
        return chosen
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}
    has_driver = NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None
    return "cuda" if has_driver and not hidden else "cpu"


def claimable_devices(device: str) -> tuple[str, ...]:
    """The values of a job's `device` that a trainer may claim. One with a GPU also runs what asks for a CPU."""
    return ("auto", "cpu", "cuda") if device == "cuda" else ("auto", "cpu")


def queues_of(device: str) -> tuple[str, ...]:
    """The wake-up queues that a trainer listens to."""
    return (GPU_QUEUE, CPU_QUEUE) if device == "cuda" else (CPU_QUEUE,)
