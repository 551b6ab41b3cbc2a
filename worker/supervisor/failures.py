"""Failures that end a job, whoever noticed them."""

import errno

from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault

FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class AttemptFailed(Exception):
    """The job fails with `error`: another attempt would fare no better."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


def damaged_input(what: str, why: object) -> AttemptFailed:
    message = f"{what} cannot be read back from the artifact store: {why}."
    return AttemptFailed(JobError(code=ErrorCode.MODEL_CORRUPTED, message=message, fault=Fault.INFRASTRUCTURE))


def disk_full(error: OSError) -> AttemptFailed | None:
    """The failure that a full disk is; None for any other error."""
    if error.errno not in FULL_DISK:
        return None
    message = f"The disk is full: {error.strerror}. The checkpoints written before are kept; make room and retry."
    return AttemptFailed(JobError(code=ErrorCode.DISK_FULL, message=message, fault=Fault.INFRASTRUCTURE))
