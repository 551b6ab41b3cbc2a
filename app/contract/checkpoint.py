"""What a checkpoint folder holds, and how its completeness is known.

step-000000400/
  model/            the finished, stock-named folder (see app.contract.model_folder)
  trainer/          the raw resume state: weights, optimizer, random state, data position
  manifest.json     written last: its presence means that the rest is complete
"""

from collections.abc import Iterable

from app.contract.base import Contract

MANIFEST_NAME = "manifest.json"
MODEL_FOLDER = "model"
TRAINER_FOLDER = "trainer"


def checkpoint_folder_name(step: int) -> str:
    return f"step-{step:09d}"


class FileEntry(Contract):
    """One file: path relative to the checkpoint folder (POSIX), its size and SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


class Environment(Contract):
    """What a byte-equal resume depends on besides the seed. `device` is `cpu`, or `cuda` with the name of the GPU."""

    torch: str
    cpu_capability: str
    num_threads: int
    device: str


class CheckpointManifest(Contract):
    """`metrics` are the latest evaluation at this step, if one was made; `is_best` compares validation loss."""

    format: int = 1
    step: int
    files: tuple[FileEntry, ...]
    metrics: dict[str, float]
    is_best: bool
    environment: Environment
    model_digest: str

    def model_files(self) -> tuple[FileEntry, ...]:
        """The files of `model/`, with paths relative to it."""
        return files_within(MODEL_FOLDER, self.files)


def files_within(folder: str, files: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Those of a folder, with paths relative to it."""
    prefix = f"{folder}/"
    return tuple(
        entry.model_copy(update={"path": entry.path.removeprefix(prefix)})
        for entry in files
        if entry.path.startswith(prefix)
    )
