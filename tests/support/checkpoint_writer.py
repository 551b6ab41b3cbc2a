"""`python -m tests.support.checkpoint_writer FOLDER KILLS SEED`: writes real checkpoints, and is killed in the middle.

A process forked off writes one after the other; it is killed at a random moment after its first, and the next one goes
on. Torch is imported once, before the first fork, and computes nothing there. Prints how many writes were torn.
"""

import itertools
import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

from worker.training.checkpoints import environment, write_checkpoint

WEIGHTS_BYTES = 1 << 20
FINISHED = "step-*[0-9]"


def finished(folder: Path) -> list[Path]:
    return list(folder.glob(FINISHED))


def write_forever(folder: Path) -> None:
    for step in itertools.count(len(finished(folder)) + 1):
        write_checkpoint(
            folder,
            step=step,
            export=partial(_export, step),
            state={"weights": torch.full((WEIGHTS_BYTES // 4,), float(step))},
            metrics={},
            is_best=False,
            environment=environment("cpu"),
        )


def _export(step: int, model: Path) -> None:
    (model / "model.safetensors").write_bytes(step.to_bytes(8, "little") * (WEIGHTS_BYTES // 8))


def main(folder: Path, kills: int, seed: int) -> int:
    """How many kills have struck in the middle of a write."""
    moments, torn = random.Random(seed), 0  # noqa: S311  no secret
    for _ in range(kills):
        before, began_at = len(finished(folder)), time.monotonic()
        if (writer := os.fork()) == 0:
            write_forever(folder)
        while len(finished(folder)) == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, time.monotonic() - began_at))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        torn += any(folder.glob("*.tmp"))  # the next writer clears it away
    return torn


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))  # noqa: T201
