"""What a job will write, by arithmetic: so that it starts only where there is room for it."""

from typing import NamedTuple

from app.contract import sizes
from app.contract.specs.job import FinetuneSpec
from app.services.jobs.planning import Plan

#: The best checkpoint, and the one that arrives before the oldest goes.
CHECKPOINTS_BESIDE_THE_LAST = 2
#: The file as it was uploaded, and what is made of it to be read fast.
COPIES_OF_THE_DATA = 2


class DiskNeed(NamedTuple):
    """`store_bytes` is what it keeps in the store at a time, `scratch_bytes` what an attempt has beside it."""

    store_bytes: int
    scratch_bytes: int


def disk_need(planned: Plan) -> DiskNeed:
    """Its log, its reports and its tokenizer are not counted."""
    training = planned.spec.training
    checkpoint = sizes.checkpoint_bytes(
        planned.num_parameters, planned.num_trained_parameters, planned.body, training, strategy=planned.strategy
    )
    inputs = COPIES_OF_THE_DATA * planned.dataset.size_bytes
    if isinstance(planned.spec, FinetuneSpec):
        inputs += sizes.BYTES_PER_NUMBER * sizes.body_parameters(planned.body)
    resumed_sent_and_written = 3 * checkpoint
    return DiskNeed(
        (training.keep_checkpoints + CHECKPOINTS_BESIDE_THE_LAST) * checkpoint, inputs + resumed_sent_and_written
    )
