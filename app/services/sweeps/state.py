"""A sweep with its trials and jobs, as one transaction sees them, and what follows from that alone."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Self

from sqlalchemy.orm import Session

from app.contract.job import JobStatus
from app.contract.specs.sweep import SweepSpec, TrialState
from app.db import sweeps
from app.db.locking import Lock
from app.db.session import now
from app.db.tables import JobRow, SweepRow, TrialRow
from app.services.sweeps.halving import Standing
from app.services.sweeps.jobs import Template
from app.services.sweeps.judging import is_at_rung
from app.services.sweeps.search import num_trials

SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True)
class SweepState:
    """`jobs` of each trial by its number, in order of folds; `final` is the last of all. `steps_run` are those of its
    trials."""

    row: SweepRow
    trials: Sequence[TrialRow]
    jobs: Mapping[int, Sequence[JobRow]]
    final: JobRow | None
    steps_run: int
    seconds_run: float

    @classmethod
    def read(cls, session: Session, row: SweepRow, *, lock: Lock | None = None) -> Self:
        jobs = sweeps.jobs_of(session, row.id, lock=lock)
        spent = sweeps.spent(session, [row.id], now(session))
        return cls._of(row, sweeps.trials_of(session, row.id), jobs, spent.get(row.id))

    @classmethod
    def read_all(cls, session: Session, rows: Sequence[SweepRow]) -> list[Self]:
        """For summaries, by as many queries for one as for all: of `jobs` there are those alone that have not ended, or
        whose trial runs."""
        ids = [row.id for row in rows]
        trials, jobs = sweeps.trials_of_all(session, ids), sweeps.jobs_under_way(session, ids)
        spent = sweeps.spent(session, ids, now(session))
        return [cls._of(row, trials.get(row.id, ()), jobs.get(row.id, ()), spent.get(row.id)) for row in rows]

    @classmethod
    def _of(cls, row: SweepRow, trials: Sequence[TrialRow], rows: Sequence[JobRow], spent: sweeps.Spent | None) -> Self:
        of_trials = groupby((job for job in rows if job.trial is not None), key=lambda job: job.trial)
        final = next((job for job in rows if job.trial is None), None)
        return cls(
            row,
            trials,
            {number: list(mine) for number, mine in of_trials if number is not None},
            final,
            *(spent or sweeps.Spent(0, 0.0)),
        )

    @cached_property
    def spec(self) -> SweepSpec:
        return SweepSpec.model_validate_json(json.dumps(self.row.spec))

    @cached_property
    def template(self) -> Template:
        return Template(self.row.template, self.row.spec["job"], self.spec)

    @property
    def all_jobs(self) -> list[JobRow]:
        return [*(job for mine in self.jobs.values() for job in mine), *filter(None, [self.final])]

    @property
    def trials_by_state(self) -> dict[str, int]:
        return dict(Counter(trial.state for trial in self.trials))

    @property
    def num_trials(self) -> int:
        return num_trials(self.spec)

    @property
    def is_spent(self) -> bool:
        budget = self.spec.budget
        if budget is None:
            return False
        if budget.steps is not None and self.steps_run >= budget.steps:
            return True
        return budget.minutes is not None and self.seconds_run >= budget.minutes * SECONDS_A_MINUTE

    @property
    def more_to_come(self) -> bool:
        """Whether trials are still to begin."""
        return len(self.trials) < self.num_trials and not self.is_spent

    @property
    def running(self) -> list[TrialRow]:
        return [trial for trial in self.trials if trial.state == TrialState.RUNNING]

    @property
    def complete(self) -> list[TrialRow]:
        return [trial for trial in self.trials if trial.state == TrialState.COMPLETE]

    @property
    def best(self) -> TrialRow | None:
        """Of equal ones, the first."""
        return min(self.complete, key=lambda trial: (self.loss(trial.mean or 0.0), trial.number), default=None)

    def loss(self, score: float) -> float:
        """The score as something that is minimised."""
        return -score if self.spec.objective.goal == "maximize" else score

    def waits(self, trial: TrialRow) -> bool:
        """Whether the trial stands at a rung, with all its jobs that have not ended."""
        if trial.state != TrialState.RUNNING:
            return False
        open_jobs = [job for job in self.jobs.get(trial.number, ()) if job.status != JobStatus.SUCCEEDED]
        return bool(open_jobs) and all(is_at_rung(job) for job in open_jobs)

    @property
    def num_active(self) -> int:
        """Trials that take one of the places of `max_parallel`: not those that stand at a rung, nor those that their
        user has paused."""
        return sum(any(job.status != JobStatus.PAUSED for job in self._open(trial)) for trial in self.running)

    @property
    def standings(self) -> list[Standing]:
        return [
            Standing(
                trial.number,
                trial.rung,
                {int(rung): self.loss(score) for rung, score in trial.rung_scores.items()},
                waits=str(trial.rung) in trial.rung_scores and self.waits(trial),
                is_over=trial.state != TrialState.RUNNING,
            )
            for trial in self.trials
            if trial.state != TrialState.FAILED
        ]

    def _open(self, trial: TrialRow) -> list[JobRow]:
        return [job for job in self.jobs.get(trial.number, ()) if job.status != JobStatus.SUCCEEDED]
