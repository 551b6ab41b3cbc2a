"""Makes the trials that a job asks for, before its first step, and tells of each."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.contract.messages import Assignment, ReportLine, Resolved, SearchLine, TrialLine
from app.contract.search import Candidate, Search, Values
from app.contract.trials import Trial
from worker.training.auto.trial import Build, Stopped, TrialRun

#: A line of progress at least so often while steps are made.
SILENCE_SECONDS = 10.0


def decide(
    assignment: Assignment,
    build: Build,
    resolved: Resolved,
    report: Callable[[ReportLine], None],
    stop: threading.Event,
) -> Values | None:
    """The learning rate and the batch size that the job is to train with; None where `stop` came first.

    `resolved` is that of the method's defaults. A trial that an earlier attempt has made is not made again.
    """
    is_judged = resolved.num_validation_examples > 0
    search = Search.of(assignment.spec, resolved.total_steps, resolved.num_train_examples, is_judged=is_judged)
    trials = _Trials(search, assignment.trials, build, resolved, report, stop)
    try:
        return search.run(trials.make)
    except Stopped:
        return None


@dataclass
class _Trials:
    search: Search
    kept: Sequence[Trial]
    build: Build
    resolved: Resolved
    report: Callable[[ReportLine], None]
    stop: threading.Event
    num_done: int = 0
    told_at: float = field(default_factory=time.monotonic)

    def make(self, candidate: Candidate) -> Trial:
        """Raises Stopped."""
        trial = next((trial for trial in self.kept if candidate.is_of(trial)), None) or self._made(candidate)
        self.num_done += 1
        return trial

    def _made(self, candidate: Candidate) -> Trial:
        self._tell(0)
        trial = TrialRun(
            self.build,
            self.search.defaults,
            candidate,
            self.resolved,
            stop=self.stop,
            tell=self._tell_now_and_then,
        ).run()
        self.report(TrialLine(trial=trial))
        return trial

    def _tell_now_and_then(self, step: int) -> None:
        if time.monotonic() - self.told_at > SILENCE_SECONDS:
            self._tell(step)

    def _tell(self, step: int) -> None:
        self.told_at = time.monotonic()
        self.report(SearchLine(num_done=self.num_done, num_trials=self.search.num_trials, step=step))
