"""How an attempt ended, told from how its process ended. A table, without any effect."""

import signal
from dataclasses import dataclass

from app.contract.errors import ErrorCode, JobError
from app.contract.job import AttemptOutcome, Fault
from app.contract.messages import EXIT_STOPPED, FailedLine, LastLine, PausedLine, ResultLine
from worker.supervisor.watch import Ending, Limits


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """What is known when a process has gone: its last words, its exit code, whether we ended it, and whether it ended
    for want of memory."""

    exit_code: int
    last_line: LastLine | None = None
    ending: Ending | None = None
    ran_out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """`error` is for the user; `detail` for the attempt's record. `finished` where there is a result."""

    outcome: AttemptOutcome
    error: JobError | None = None
    detail: str | None = None
    finished: ResultLine | None = None


def classify(end: ProcessEnd, limits: Limits) -> AttemptEnd:
    """Its last words count before anything else: a process that has finished may crash in its own clean-up."""
    match end.last_line:
        case finished if isinstance(finished, ResultLine):
            return AttemptEnd(AttemptOutcome.SUCCEEDED, finished=finished)
        case PausedLine():
            return AttemptEnd(AttemptOutcome.PAUSED)
        case FailedLine(error=error):
            return _failed(error)
        case None if end.ending is not None:
            return _ended_by_us(end.ending, limits)
        case _:
            return _told_by_its_exit(end)


def _told_by_its_exit(end: ProcessEnd) -> AttemptEnd:
    if end.exit_code == EXIT_STOPPED:
        return AttemptEnd(AttemptOutcome.PREEMPTED, detail="the training process was asked to stop from outside")
    if end.ran_out_of_memory:
        return _failed(_out_of_memory(end.exit_code))
    return AttemptEnd(AttemptOutcome.LOST, detail=describe_exit(end.exit_code))


def _ended_by_us(ending: Ending, limits: Limits) -> AttemptEnd:
    match ending:
        case Ending.STALL:
            return _failed(_stalled(limits.stall_seconds))
        case Ending.TIME_LIMIT:
            return _failed(_time_limit(limits.time_limit_seconds))
        case Ending.CANCEL:
            return AttemptEnd(AttemptOutcome.CANCELLED)
        case Ending.PAUSE:
            return AttemptEnd(AttemptOutcome.PAUSED)
        case Ending.PREEMPT:
            return AttemptEnd(AttemptOutcome.PREEMPTED, detail="the trainer shut down")
        case Ending.LEASE_LOST:
            raise AssertionError("an attempt that lost its lease has no end of its own")


def describe_exit(exit_code: int) -> str:
    if exit_code >= 0:
        return f"the training process exited with code {exit_code}"
    return f"the training process was killed by {signal.Signals(-exit_code).name}"


def _failed(error: JobError) -> AttemptEnd:
    return AttemptEnd(AttemptOutcome.FAILED, error=error, detail=error.message)


def _out_of_memory(exit_code: int) -> JobError:
    message = f"Memory ran out, and {describe_exit(exit_code)}."
    return JobError(code=ErrorCode.OUT_OF_MEMORY, message=message, fault=Fault.USER)


def _stalled(stall_seconds: float) -> JobError:
    return JobError(
        code=ErrorCode.STALLED,
        message=f"The training process took no step for {stall_seconds:g} seconds and was ended. A retry goes "
        "on from the last checkpoint.",
        fault=Fault.INFRASTRUCTURE,
    )


def _time_limit(seconds: int | None) -> JobError:
    message = (
        f"The job has run for {seconds:,} seconds, its resources.time_limit_seconds. What it has kept by then stays: a "
        "retry goes on from there, with the whole limit anew."
    )
    return JobError(code=ErrorCode.TIME_LIMIT, message=message, fault=Fault.USER)
