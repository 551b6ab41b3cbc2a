"""Our job as a contestant: the training process as a trainer's supervisor starts it, held still between its turns.

Each turn ends with a checkpoint, whose time is taken apart and charged as often as jobs write one: ten times over the
whole duration. The copy that the supervisor makes in the artifact store, beside the training, is charged as if training
stood still meanwhile, which on fewer cores than threads is nearly so.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from app.contract.checkpoint import MODEL_FOLDER
from app.contract.messages import Assignment, CheckpointLine, FailedLine, MetricsLine, ReportLine, ResolvedLine
from app.db.attempts import Claim
from app.processes import ChildStarter
from app.settings import Settings
from app.storage import FolderStore
from benchmarks.serving.load import cpu_seconds
from benchmarks.training.contestants import num_tokens
from benchmarks.training.turns import Turn
from worker.methods import BUILDERS
from worker.supervisor.child import TRAINING_COMMAND, ChildOptions, start_child
from worker.supervisor.environment import source_root, training_environment
from worker.supervisor.publish import Publisher

#: As in the spec.
DEFAULT_CHECKPOINTS = 10


def environment(folder: Path) -> dict[str, str]:
    """Of every contestant: that of a training process which has all cores."""
    return training_environment(Settings(data_dir=folder, slots=1))


class Job:
    """`checkpoint_share`: of the time of steps, that which checkpoints take at their usual distance; by turn."""

    def __init__(self, starter: ChildStarter, assignment: Assignment, folder: Path) -> None:
        options = ChildOptions(TRAINING_COMMAND, environment(folder), source_root())
        self._log = folder / "job.log"
        self._child = start_child(starter, options, self._log)
        self._child.assign(assignment)
        self._lines = self._child.lines()
        self._publisher = Publisher(FolderStore(folder / "store"), Claim("benchmark", "default", 1, "wrk"))
        self._data = BUILDERS[assignment.spec.kind, assignment.spec.method.type](assignment, lambda _: None).train_data
        self._step, self._total_steps = 0, 1
        self.checkpoint_shares: list[float] = []
        self.model_folder = assignment.output_dir
        self.resolved: ResolvedLine | None = None

    def turn(self) -> Turn:
        self._signal(signal.SIGCONT)
        began, computed = time.perf_counter(), cpu_seconds({self._child.pid})
        steps_seconds = cpu = 0.0
        for line in self._told():
            if isinstance(line, MetricsLine):
                steps_seconds, cpu = time.perf_counter() - began, cpu_seconds({self._child.pid}) - computed
            elif isinstance(line, CheckpointLine):
                written_seconds = time.perf_counter() - began - steps_seconds
                self._signal(signal.SIGSTOP)
                return self._turn(line, steps_seconds, cpu, written_seconds)
        raise RuntimeError(f"The training process has ended:\n{self._log.read_text()}")

    def close(self) -> None:
        self._child.close()

    def _turn(self, line: CheckpointLine, seconds: float, cpu: float, written_seconds: float) -> Turn:
        began = time.perf_counter()
        self._publisher.checkpoint(line.path, line.step)
        self.model_folder = line.path / MODEL_FOLDER
        stored_seconds = time.perf_counter() - began
        steps = range(self._step, line.step)
        self._step = line.step
        per_step = (written_seconds + stored_seconds) * DEFAULT_CHECKPOINTS / self._total_steps
        share = per_step * len(steps) / seconds
        self.checkpoint_shares.append(share)
        return Turn(sum(map(self._tokens, steps)), seconds * (1 + share), cpu * (1 + share))

    def _tokens(self, step: int) -> int:
        return sum(num_tokens(batch) for batch in self._data.micro_batches(step))

    def _told(self) -> Iterator[ReportLine]:
        for line in self._lines:
            if isinstance(line, FailedLine):
                raise RuntimeError(line.error.message)
            if isinstance(line, ResolvedLine):
                self.resolved, self._total_steps = line, line.resolved.total_steps
            yield line

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._child.pid, number)
