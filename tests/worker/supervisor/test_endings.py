"""How an attempt ended, told from how its process ended."""

import signal

import pytest

from app.contract.errors import ErrorCode, JobError
from app.contract.job import AttemptOutcome, Fault
from app.contract.messages import EXIT_FAILED, EXIT_STOPPED, FailedLine, FinishedLine
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import MlpArchitecture
from worker.supervisor.endings import ProcessEnd, classify
from worker.supervisor.watch import Ending, Limits

BODY = BodyDescription(architecture=MlpArchitecture(), input=InputKind.FEATURES, granularity=Granularity.EXAMPLE)
MODEL = ModelDescription(kind="pretrain", method="autoencoder", body=BODY, num_parameters=1)
FINISHED = FinishedLine(step=3, model_step=3, model=MODEL, reason="duration")
LIMITS = Limits(stall_seconds=60.0, stop_grace_seconds=1.0, cancel_grace_seconds=1.0, time_limit_seconds=3_600)
FAILED = FailedLine(error=JobError(code=ErrorCode.OUT_OF_MEMORY, message="too big", fault=Fault.USER))


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (ProcessEnd(0, FINISHED), AttemptOutcome.SUCCEEDED),
        (ProcessEnd(-signal.SIGSEGV, FINISHED), AttemptOutcome.SUCCEEDED),
        (ProcessEnd(-signal.SIGKILL, FINISHED, Ending.PREEMPT), AttemptOutcome.SUCCEEDED),
        (ProcessEnd(EXIT_FAILED, FAILED), AttemptOutcome.FAILED),
        (ProcessEnd(EXIT_FAILED, FAILED, Ending.PREEMPT), AttemptOutcome.FAILED),
        (ProcessEnd(EXIT_STOPPED, None, Ending.PREEMPT), AttemptOutcome.PREEMPTED),
        (ProcessEnd(-signal.SIGKILL, None, Ending.PREEMPT), AttemptOutcome.PREEMPTED),
        (ProcessEnd(EXIT_STOPPED, None, Ending.PAUSE), AttemptOutcome.PAUSED),
        (ProcessEnd(-signal.SIGKILL, None, Ending.CANCEL), AttemptOutcome.CANCELLED),
        (ProcessEnd(-signal.SIGKILL, None, Ending.STALL), AttemptOutcome.FAILED),
        (ProcessEnd(EXIT_STOPPED, None, Ending.TIME_LIMIT), AttemptOutcome.FAILED),
        (ProcessEnd(0, FINISHED, Ending.TIME_LIMIT), AttemptOutcome.SUCCEEDED),
        (ProcessEnd(EXIT_STOPPED), AttemptOutcome.PREEMPTED),
        (ProcessEnd(EXIT_FAILED), AttemptOutcome.LOST),
        (ProcessEnd(-signal.SIGKILL), AttemptOutcome.LOST),
        (ProcessEnd(-signal.SIGSEGV), AttemptOutcome.LOST),
        (ProcessEnd(-signal.SIGKILL, None, None, True), AttemptOutcome.FAILED),
        (ProcessEnd(-signal.SIGKILL, FINISHED, None, True), AttemptOutcome.SUCCEEDED),
        (ProcessEnd(-signal.SIGKILL, None, Ending.PREEMPT, True), AttemptOutcome.PREEMPTED),
        (ProcessEnd(1), AttemptOutcome.LOST),
        (ProcessEnd(0), AttemptOutcome.LOST),
    ],
)
def test_last_words_count_first_then_what_we_did_then_the_exit_code(end: ProcessEnd, outcome: AttemptOutcome) -> None:
    assert classify(end, LIMITS).outcome is outcome


def test_an_error_told_by_the_process_reaches_the_user_unchanged() -> None:
    assert classify(ProcessEnd(EXIT_FAILED, FAILED), LIMITS).error == FAILED.error


def test_a_process_that_ran_out_of_memory_says_so() -> None:
    error = classify(ProcessEnd(-signal.SIGKILL, ran_out_of_memory=True), LIMITS).error
    assert error is not None
    assert (error.code, error.fault) == (ErrorCode.OUT_OF_MEMORY, Fault.USER)
    assert error.message == "Memory ran out, and the training process was killed by SIGKILL."


def test_a_lost_process_says_how() -> None:
    assert classify(ProcessEnd(-signal.SIGSEGV), LIMITS).detail == "the training process was killed by SIGSEGV"
    assert classify(ProcessEnd(1), LIMITS).detail == "the training process exited with code 1"
