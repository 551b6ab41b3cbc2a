"""Errors of a run, told as the API tells them."""

import errno
from http import HTTPStatus

import torch

from app.contract.errors import ErrorCode, JobError, ServiceError
from app.contract.job import Fault
from app.records import InvalidDataset
from worker.data.failures import BadData

_FULL_DISK_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
#: Rust's and C++'s writers tell a full disk in words only.
_FULL_DISK_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "PytorchStreamWriter failed")
#: Of libraries that have no exception for it; a GPU's beyond what torch allocates itself.
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory",
                 "CUDA error: out of memory", "STATUS_ALLOC_FAILED")  # fmt: skip
_MESSAGE_CHARACTERS = 500


class LossNotFinite(Exception):
    """A value that training reports became NaN or infinite."""

    def __init__(self, name: str, value: float, step: int) -> None:
        super().__init__(
            f"{name} became {value} by step {step}. Lower training.optimizer.learning_rate, lengthen "
            "training.schedule.warmup_steps or set training.gradient_clip_norm."
        )


def job_error(error: Exception) -> JobError:
    """What to tell the user. Anything unforeseen is our fault; its traceback is in the job's log."""
    match error:
        case BadData() | InvalidDataset():
            return JobError(code=ErrorCode.BAD_DATA, message=str(error), fault=Fault.USER)
        case ServiceError():
            fault = Fault.USER if error.status < HTTPStatus.INTERNAL_SERVER_ERROR else Fault.INFRASTRUCTURE
            return JobError(code=error.code, message=error.detail, fault=fault)
        case LossNotFinite():
            return JobError(code=ErrorCode.LOSS_NOT_FINITE, message=str(error), fault=Fault.USER)
        case _ if is_out_of_memory(error):
            message = f"The job ran out of memory ({_short(error)})."
            return JobError(code=ErrorCode.OUT_OF_MEMORY, message=message, fault=Fault.USER)
        case _ if _is_full_disk(error):
            message = f"The disk is full ({_short(error)}). What was kept before stays."
            return JobError(code=ErrorCode.DISK_FULL, message=message, fault=Fault.INFRASTRUCTURE)
        case _:
            message = f"The job ended with an unexpected {_short(error)}"
            return JobError(code=ErrorCode.TRAINING_CRASHED, message=message, fault=Fault.INFRASTRUCTURE)


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return (isinstance(error, OSError) and error.errno == errno.ENOMEM) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_WORDS)
    )


def _is_full_disk(error: Exception) -> bool:
    return (isinstance(error, OSError) and error.errno in _FULL_DISK_NUMBERS) or any(
        words in str(error) for words in _FULL_DISK_WORDS
    )


def _short(error: Exception) -> str:
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first_line}"[:_MESSAGE_CHARACTERS]
