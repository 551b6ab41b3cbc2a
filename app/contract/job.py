"""The life of a job: its states, the transitions that are allowed, and whose fault an error is."""

from enum import StrEnum


class JobStatus(StrEnum):
    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


S = JobStatus

TERMINAL = frozenset({S.CANCELLED, S.SUCCEEDED, S.FAILED})

#: From each state, the states that may follow. Every change of status goes through this table.
TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    S.WAITING: frozenset({S.QUEUED, S.CANCELLED, S.FAILED}),
    S.QUEUED: frozenset({S.RUNNING, S.PAUSED, S.CANCELLED, S.FAILED}),
    S.RUNNING: frozenset({S.QUEUED, S.PAUSING, S.PAUSED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
    S.PAUSING: frozenset({S.PAUSED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
    S.PAUSED: frozenset({S.QUEUED, S.CANCELLED}),
    S.CANCELLING: frozenset({S.CANCELLED, S.FAILED}),
    S.CANCELLED: frozenset({S.QUEUED, S.WAITING}),  # a retry waits for a parent that is retried too
    S.FAILED: frozenset({S.QUEUED, S.WAITING}),
    S.SUCCEEDED: frozenset(),
}


class Fault(StrEnum):
    """Whose fault an error is: a user mends the request, an operator mends the machine."""

    USER = "user"
    INFRASTRUCTURE = "infrastructure"


class AttemptOutcome(StrEnum):
    """How one run of a job ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the user's fault: no retry
    LOST = "lost"  # the process or its worker died: retried, up to a cap
    OUT_OF_MEMORY = "out_of_memory"  # retried with smaller micro-batches, once, not counted against the cap
    PREEMPTED = "preempted"  # the worker shut down in order: requeued, not counted against the cap
    PAUSED = "paused"
    CANCELLED = "cancelled"
