"""The loop: steps, reports, evaluations, checkpoints. Sees no loss and no model, only what `Method` promises.

When something is reported depends on the step alone, never on the clock, so that a run which was interrupted tells the
same series as one that was not.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from app.contract.checkpoint import checkpoint_folder_name
from app.contract.messages import CheckpointLine, FinishedLine, MetricsLine, PausedLine, ReportLine, Resolved
from app.contract.specs.training import TrainingOptions
from worker.training.checkpoints import environment, read_state, write_checkpoint
from worker.training.feeder import batches
from worker.training.learner import Learner
from worker.training.precision import Compute
from worker.training.progress import Pace, Progress, checked
from worker.training.protocols import Batch, Method

REPORTS = 100
LONGEST_REPORT_STEPS = 50
#: A line without values, if nothing else was told for so long: progress and a sign of life.
SILENCE_SECONDS = 10.0


class Trainer:
    """Runs one job's training from its start or from a checkpoint. Made once, run once."""

    def __init__(
        self,
        method: Method,
        options: TrainingOptions,
        resolved: Resolved,
        *,
        output_dir: Path,
        report: Callable[[ReportLine], None],
        stop: threading.Event,
        pause_step: int | None = None,
    ) -> None:
        """`output_dir` receives `checkpoints/` and `artifacts/`. `stop` asks for a checkpoint and an early end at the
        next step; `pause_step` asks for the same once so many steps are done."""
        self._learner = Learner(method, options, resolved)
        self._method = method
        self._options = options
        self._resolved = resolved
        self._checkpoints_dir = output_dir / "checkpoints"
        self._checkpoints_dir.mkdir(parents=True, exist_ok=True)
        self._artifacts_dir = output_dir / "artifacts"
        self._report = report
        self._stop = stop
        self._pause_step = pause_step
        self._report_every = min(max(1, resolved.total_steps // REPORTS), LONGEST_REPORT_STEPS)
        self._progress = Progress()
        self._pace = Pace()
        self._evaluated: dict[str, float] = {}  # at this step
        self._kept_step = 0  # of the newest checkpoint

    def run(self, resume_from: Path | None = None) -> FinishedLine | PausedLine | None:
        """None where `stop` ended it first. Raises LossNotFinite."""
        if resume_from is not None:
            self._restore(resume_from)
        steps = range(self._progress.step, self._resolved.total_steps)
        with closing(batches(self._method.train_data, steps, Compute.of(self._resolved).device)) as feed:
            while not self._over:
                if self._pause_step is not None and self._progress.step >= self._pause_step:
                    self._keep()
                    return PausedLine(step=self._progress.step)
                if self._stop.is_set():
                    self._keep()
                    return None
                self._step(feed)
                self._tell()
        return self._finished()

    @property
    def _over(self) -> bool:
        return self._progress.step >= self._resolved.total_steps or self._stopped_early

    @property
    def _stopped_early(self) -> bool:
        rule = self._options.early_stopping
        return rule is not None and self._progress.num_worse >= rule.patience

    def _step(self, feed: Iterator[Sequence[Batch]]) -> None:
        began, step = time.perf_counter(), self._progress.step
        self._progress.add(self._learner.step(step, next(feed)))
        self._evaluated = {}
        self._pace.add(time.perf_counter() - began)

    def _tell(self) -> None:
        """Report, evaluate and keep what is due after this step."""
        step, last = self._progress.step, self._progress.step == self._resolved.total_steps
        if step % self._report_every == 0 or last:
            self._send_metrics(self._progress.take_means() | self._learning_rates())
        elif self._pace.silent_seconds > SILENCE_SECONDS:
            self._send_metrics({})
        is_best = False
        if self._resolved.num_validation_examples and (step % self._resolved.evaluate_every_steps == 0 or last):
            is_best = self._evaluate()
        if is_best or (last and self._progress.best_step is None):
            self._show()
        if is_best or step % self._resolved.checkpoint_every_steps == 0 or self._over:
            self._keep()

    def _evaluate(self) -> bool:
        """Whether this is the best evaluation so far."""
        self._evaluated = checked(self._learner.evaluate(), self._progress.step)
        self._send_metrics(self._evaluated)
        return self._progress.judge(self._evaluated["validation_loss"], self._options.early_stopping)

    def _show(self) -> None:
        """Before the checkpoint is kept: a run that resumes from it has told of it. Each step has a folder of its own,
        since who takes the files may still read those of an earlier one."""
        folder = self._artifacts_dir / checkpoint_folder_name(self._progress.step)
        folder.mkdir(parents=True, exist_ok=True)
        with self._learner.average.applied():
            artifacts = self._method.artifacts(folder)
        for artifact in artifacts:
            self._report(artifact)

    def _keep(self) -> None:
        """Write a checkpoint of this step, unless there is one. Weights that are not finite are never kept."""
        step = self._progress.step
        if step == self._kept_step:
            return
        self._progress.means()
        state = {
            "progress": self._progress.state(),
            "module": self._method.module.state_dict(),
            "average": self._learner.average.state(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._learner.optimizers.items()},
        }
        folder = write_checkpoint(
            self._checkpoints_dir,
            step=step,
            export=self._export,
            state=state,
            metrics=self._evaluated,
            is_best=self._progress.best_step == step,
            environment=environment(self._resolved.device),
        )
        self._kept_step = step
        self._report(CheckpointLine(step=step, path=folder))

    def _export(self, folder: Path) -> None:
        with self._learner.average.applied():
            self._method.export(folder)

    def _restore(self, folder: Path) -> None:
        state = read_state(folder)
        self._method.module.load_state_dict(state["module"])
        self._learner.average.load_state(state["average"])
        for name, optimizer in self._learner.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._progress = Progress.from_state(state["progress"])
        self._kept_step = self._progress.step

    def _finished(self) -> FinishedLine:
        best = self._progress.best_step
        return FinishedLine(
            step=self._progress.step,
            model_step=self._progress.step if best is None else best,
            model=self._method.describe(),
            reason="early_stopping" if self._stopped_early else "duration",
        )

    def _send_metrics(self, values: dict[str, float]) -> None:
        data, steps_per_second = self._method.train_data, self._pace.take()
        examples_per_step = data.num_examples / data.steps_per_epoch
        self._report(
            MetricsLine(
                step=self._progress.step,
                values=values,
                examples_per_second=steps_per_second and steps_per_second * examples_per_step,
                tokens_per_second=steps_per_second and data.tokens_per_step and steps_per_second * data.tokens_per_step,
            )
        )

    def _learning_rates(self) -> dict[str, float]:
        """Of the step just done, where no strategy scales it; all optimizers of a method share the schedule."""
        return {"learning_rate": next(iter(self._learner.optimizers.values())).learning_rate(self._progress.step - 1)}
