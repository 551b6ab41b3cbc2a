"""Checkpoint folders: whole, told by digests, or not there."""

import errno
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from app.contract.checkpoint import CheckpointManifest
from app.contract.errors import ErrorCode
from app.contract.job import Fault
from app.contract.model_folder import model_digest
from worker.training.checkpoints import environment, read_state, write_checkpoint
from worker.training.failures import job_error

STATE: dict[str, Any] = {"module": {"weight": torch.arange(6.0)}, "progress": {"step": 3, "best_loss": float("inf")}}


def _write(folder: Path, text: str = "weights", step: int = 3) -> Path:
    def export(model: Path) -> None:
        (model / "model.safetensors").write_text(text)

    return write_checkpoint(
        folder,
        step=step,
        export=export,
        state=STATE,
        metrics={"validation_loss": 1.5},
        is_best=True,
        environment=environment("cpu"),
    )


def test_the_manifest_tells_every_file_by_size_and_digest(tmp_path: Path) -> None:
    folder = _write(tmp_path)

    manifest = CheckpointManifest.model_validate_json((folder / "manifest.json").read_text())
    for entry in manifest.files:
        content = (folder / entry.path).read_bytes()
        assert (entry.size_bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {entry.path for entry in manifest.files} | {"manifest.json"}
    assert manifest.model_digest == model_digest(manifest.model_files())
    assert (manifest.step, manifest.is_best, manifest.metrics) == (3, True, {"validation_loss": 1.5})


def test_cpus_whose_kernels_may_differ_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    told = set[str]()
    for found in ({"cpu_name": "Xeon"}, {"cpu_name": "Xeon", "amx_bf16": True}, {"cpu_name": "EPYC"}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found)
        told.add(environment("cpu").cpu_capability)

    assert len(told) == 4
    assert all(each.startswith(torch.backends.cpu.get_cpu_capability()) for each in told)


def test_the_state_is_read_back_as_it_was(tmp_path: Path) -> None:
    state = read_state(_write(tmp_path))

    assert torch.equal(state["module"]["weight"], STATE["module"]["weight"])
    assert state["progress"] == STATE["progress"]


def test_a_write_that_fails_leaves_nothing_and_touches_no_other(tmp_path: Path) -> None:
    good = _write(tmp_path, step=2)

    def full(model: Path) -> None:
        (model / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(
            tmp_path, step=3, export=full, state={}, metrics={}, is_best=False, environment=environment("cpu")
        )
    assert list(tmp_path.iterdir()) == [good]


def test_a_step_that_is_reached_again_is_written_again(tmp_path: Path) -> None:
    _write(tmp_path, "before")
    (tmp_path / "step-000000003.tmp").mkdir()  # left by a killed process

    assert (_write(tmp_path, "after") / "model" / "model.safetensors").read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000003"]


def test_a_full_disk_is_told_as_such_whoever_was_writing() -> None:
    def torch_fills_the_disk() -> None:
        with Path("/dev/full").open("wb") as full:
            torch.save({"tensor": torch.zeros(1_000_000)}, full)

    def safetensors_fills_the_disk() -> None:
        from safetensors import SafetensorError  # noqa: PLC0415  next to its one use

        raise SafetensorError("I/O error: No space left on device (os error 28)")

    for write in (torch_fills_the_disk, safetensors_fills_the_disk):
        with pytest.raises(Exception) as caught:  # noqa: PT011  its type is the library's business
            write()
        told = job_error(caught.value)
        assert (told.code, told.fault) == (ErrorCode.DISK_FULL, Fault.INFRASTRUCTURE), caught.value


def test_memory_that_runs_out_is_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)

    told = job_error(caught.value)
    assert told.code == ErrorCode.OUT_OF_MEMORY
    assert told.fault is Fault.USER


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_is_told_whoever_wanted_it(error: Exception) -> None:
    assert job_error(error).code == ErrorCode.OUT_OF_MEMORY


def test_what_nobody_foresaw_is_our_fault_and_told_shortly() -> None:
    told = job_error(KeyError("surprise\n" * 1_000))

    assert (told.code, told.fault) == (ErrorCode.TRAINING_CRASHED, Fault.INFRASTRUCTURE)
    assert len(told.message) < 1_000
