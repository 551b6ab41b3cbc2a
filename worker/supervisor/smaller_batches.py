"""What becomes of a run whose memory did not suffice: once, it goes on with smaller micro-batches. Writes nothing.

The batch of a step stays as it is, cut into more parts: what is learned is the same but for the last bits of sums, so a
resume is not exact here. The steps before are kept, in the checkpoint that it goes on from.
"""

from dataclasses import dataclass

from app.contract.errors import JobError
from app.contract.messages import Resolved
from app.contract.specs.training import TrainingOptions


@dataclass(frozen=True, slots=True)
class SmallerBatches:
    """The next attempt, and what its user is told of it."""

    resolved: Resolved
    warning: str


def smaller_batches(error: JobError, asked: TrainingOptions, resolved: Resolved | None) -> SmallerBatches | JobError:
    """How to go on after `error`; or the error to end with, which tells the remedy that is left. `asked` is settled."""
    if resolved is None:
        return _told(error, "before its first step", "Ask for a smaller architecture or a smaller data set.")
    training = as_resolved(asked, resolved)
    parts, size = training.gradient_accumulation_steps, _micro_batch_size(training)
    if size == 1:
        remedy = "Ask for a smaller architecture or a shorter context."
        return _told(error, "with a single example in a micro-batch", remedy)
    if parts != asked.gradient_accumulation_steps:
        remedy = "Ask for a smaller training.batch_size, more training.gradient_accumulation_steps or a smaller model."
        return _told(error, f"again, with micro-batches of {size} examples", remedy)
    batch_size = training.decided_batch_size
    more = _more_parts(batch_size, parts)
    warning = (
        f"{error.message} The job is tried once more, from its last checkpoint if it has one, with "
        f"gradient_accumulation_steps {more} instead of {parts}: micro-batches of {batch_size // more} examples, the "
        f"same batch of {batch_size}. "
        "The result may differ in its last bits from that of a run without this interruption."
    )
    return SmallerBatches(resolved.model_copy(update={"gradient_accumulation_steps": more}), warning)


def as_resolved(asked: TrainingOptions, resolved: Resolved | None) -> TrainingOptions:
    """The options that an attempt runs with: the user's, in as many parts as were found to fit."""
    parts = resolved and resolved.gradient_accumulation_steps
    return asked.model_copy(update={"gradient_accumulation_steps": parts}) if parts else asked


def _more_parts(batch_size: int, parts: int) -> int:
    """At least twice as many, and the fewest that divide the batch."""
    return next(more for more in range(2 * parts, batch_size + 1) if batch_size % more == 0)


def _micro_batch_size(training: TrainingOptions) -> int:
    return training.decided_batch_size // training.gradient_accumulation_steps


def _told(error: JobError, when: str, remedy: str) -> JobError:
    return error.model_copy(update={"message": f"{error.message} It happened {when}. {remedy}"})
