"""The environment of a training process: what it computes with, and none of our addresses and keys.

Names are allowed, not refused: a secret under a name nobody thought of stays here.
"""

import os
from pathlib import Path

from app.settings import Settings
from worker.supervisor.device import detect_device, num_slots

ALLOWED_NAMES = frozenset({"CC", "CXX", "HOME", "LANG", "PATH", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV"})
ALLOWED_PREFIXES = ("CUDA", "CUDNN", "GOMP_", "KMP_", "LC_", "LD_", "MALLOC_", "MKL_", "NCCL_", "NVIDIA_", "OMP_",
                    "PYTHON", "PYTORCH_", "TORCH", "TRITON_")  # fmt: skip

#: What torch.compile keeps is one entry of the cache, in use while an attempt runs.
COMPILED = "compiled"
INDUCTOR = "inductor"

#: Threads of a parallel region that wait for each other give the core away after some 10 microseconds. By default they
#: spin for long: where something else wants the cores, a matrix product took 48 ms instead of 4 (2 cores, load 12).
YIELDING = {"GOMP_SPINCOUNT": "10000"}


def training_environment(settings: Settings, gpu: str | None = None) -> dict[str, str]:
    """`gpu` is the one that the process sees; None: all that the trainer does."""
    kept = YIELDING | {name: value for name, value in os.environ.items() if _is_allowed(name)}
    threads = str(threads_of_one(settings))
    made = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(settings.cache_dir / COMPILED / INDUCTOR),
    }
    if detect_device(settings.device) == "cpu":
        made["CUDA_VISIBLE_DEVICES"] = ""
    elif gpu is not None:
        made["CUDA_VISIBLE_DEVICES"] = gpu
    return kept | made


def threads_of_one(settings: Settings) -> int:
    """CPU threads of one training process: as set, or an equal share of the cores we may use."""
    return settings.threads or max(1, usable_cores() // num_slots(settings))


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def source_root() -> Path:
    """Where `python -m worker.training_process` finds the packages, whatever our working directory is."""
    return Path(__file__).resolve().parents[2]


def _is_allowed(name: str) -> bool:
    return name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES)
