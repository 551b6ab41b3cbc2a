"""Prepares the batches of the next steps beside the computation. Holds no state: the step tells which."""

from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from worker.training.protocols import Batch, StepSource

STEPS_AHEAD = 2


def batches(source: StepSource, steps: range, device: torch.device) -> Generator[Sequence[Batch], None, None]:
    """The micro-batches of each step in turn, on the device."""
    with ThreadPoolExecutor(1, thread_name_prefix="feeder") as thread:
        ahead: list[Future[Sequence[Batch]]] = []
        for step in steps:
            while len(ahead) <= STEPS_AHEAD and step + len(ahead) in steps:
                ahead.append(thread.submit(_prepared, source, step + len(ahead), device))
            yield [_moved(batch, device) for batch in ahead.pop(0).result()]


def _prepared(source: StepSource, step: int, device: torch.device) -> Sequence[Batch]:
    batches = source.micro_batches(step)
    if device.type == "cpu":
        return batches
    return [{name: tensor.pin_memory() for name, tensor in batch.items()} for batch in batches]


def _moved(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
