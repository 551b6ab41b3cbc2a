"""A sweep as its user sees it: as JSON, and its trials as a table."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app.contract.base import Contract
from app.contract.errors import JobError
from app.contract.job import JobStatus
from app.contract.specs.sweep import SweepStatus, TrialState
from app.db.tables import JobRow, SweepRow, TrialRow
from app.services.sweeps.state import SweepState

SIGNIFICANT_DIGITS = 4


class FoldView(Contract):
    """One job of a trial. `score` is the objective's metric at the evaluation of the lowest validation loss, that of
    `best_step`; both are null until the trial is complete."""

    fold: int
    job_id: str
    status: Annotated[JobStatus, Field(strict=False)]
    step: int
    total_steps: int | None
    score: float | None = None
    best_step: int | None = None


class TrialView(Contract):
    """`mean` and `standard_deviation` are over its folds; null until it is complete, the latter without folds.
    `rung_scores` are those at which it was promoted or pruned, by the share of the training. `error` tells why it
    failed."""

    number: int
    parameters: dict[str, Any]
    state: Annotated[TrialState, Field(strict=False)]
    folds: list[FoldView]
    mean: float | None
    standard_deviation: float | None
    rung_scores: dict[str, float]
    step: int = Field(description="Of all its jobs together.")
    error: JobError | None
    created_at: datetime
    finished_at: datetime | None


class BestTrial(Contract):
    number: int
    parameters: dict[str, Any]
    mean: float
    standard_deviation: float | None


class SweepSummary(Contract):
    """`spec` is what was asked for, every default filled in. `trials_by_state` counts those that have begun.
    `importance`: what share of the difference between good and other trials is each parameter's, once eight trials are
    complete. `reason` says in a sentence where the sweep stands and why. `final_job_id` trains the best parameters on
    all data, where that was asked for; `model_id` is the sweep's result. `steps` and `seconds` are of all jobs
    together. `error` tells why it failed, or what holds it back until there is room."""

    id: str
    name: str | None
    status: Annotated[SweepStatus, Field(strict=False)]
    spec: dict[str, Any]
    num_trials: int
    trials_by_state: dict[str, int]
    best: BestTrial | None
    importance: dict[str, float] | None
    reason: str
    final_job_id: str | None
    model_id: str | None
    steps: int
    seconds: float
    error: JobError | None
    created_at: datetime
    finished_at: datetime | None


class SweepView(SweepSummary):
    trials: list[TrialView]


class SweepPage(Contract):
    data: list[SweepSummary]
    next_cursor: str | None


def summary_of(state: SweepState) -> SweepSummary:
    return SweepSummary.model_validate(_summary(state))


def view_of(state: SweepState) -> SweepView:
    trials = [_trial(state, trial) for trial in state.trials]
    return SweepView.model_validate(_summary(state) | {"trials": trials})


def as_csv(view: SweepView) -> str:
    """A line a trial; each parameter has a column, and so has each fold's score."""
    paths = list(view.spec["search"])
    num_folds = view.spec["folds"] or 1
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    scores = [f"score_{fold}" for fold in range(num_folds)]
    writer.writerow(["number", "state", "mean", "standard_deviation", "step", *paths, *scores, "jobs"])
    for trial in view.trials:
        of_folds = [fold.score for fold in trial.folds] + [None] * (num_folds - len(trial.folds))
        values = [_cell(trial.parameters[path]) for path in paths]
        job_ids = " ".join(fold.job_id for fold in trial.folds)
        writer.writerow(
            [
                trial.number,
                trial.state.value,
                trial.mean,
                trial.standard_deviation,
                trial.step,
                *values,
                *of_folds,
                job_ids,
            ]
        )
    return out.getvalue()


def status_of(state: SweepState) -> SweepStatus:
    """As it is stored, or as its jobs come to it."""
    stored = SweepStatus(state.row.status)
    coming = {SweepStatus.PAUSED: SweepStatus.PAUSING, SweepStatus.CANCELLED: SweepStatus.CANCELLING}
    stopping = (JobStatus.PAUSING, JobStatus.CANCELLING)
    return coming[stored] if stored in coming and any(job.status in stopping for job in state.all_jobs) else stored


def _summary(state: SweepState) -> dict[str, Any]:
    row = state.row
    plain = {name: getattr(row, name) for name in _PLAIN}
    return plain | {
        "status": status_of(state),
        "num_trials": state.num_trials,
        "trials_by_state": state.trials_by_state,
        "best": _best(state.best),
        "reason": _reason(state),
        "steps": state.steps_run,
        "seconds": round(state.seconds_run, 1),
        "error": row.error and JobError.model_validate(row.error, strict=False),
    }


#: The fields that are columns.
_PLAIN = set(SweepSummary.model_fields) & set(SweepRow.__table__.columns.keys()) - {"status", "error"}


def _best(trial: TrialRow | None) -> BestTrial | None:
    if trial is None or trial.mean is None:
        return None
    return BestTrial(
        number=trial.number,
        parameters=trial.parameters,
        mean=trial.mean,
        standard_deviation=trial.standard_deviation,
    )


def _trial(state: SweepState, trial: TrialRow) -> TrialView:
    mine = state.jobs.get(trial.number, ())
    rungs = state.spec.rungs
    return TrialView(
        number=trial.number,
        parameters=trial.parameters,
        state=TrialState(trial.state),
        folds=[_fold(job, trial.results) for job in mine],
        mean=trial.mean,
        standard_deviation=trial.standard_deviation,
        rung_scores={f"{rungs[int(rung)]:.3g}": score for rung, score in trial.rung_scores.items()},
        step=sum(int(job.progress.get("step", 0)) for job in mine),
        error=None if trial.error is None else JobError.model_validate(trial.error, strict=False),
        created_at=trial.created_at,
        finished_at=trial.finished_at,
    )


def _fold(job: JobRow, results: Sequence[Mapping[str, Any]]) -> FoldView:
    result = next((each for each in results if each["job_id"] == job.id), {})
    return FoldView(
        fold=job.fold or 0,
        job_id=job.id,
        status=JobStatus(job.status),
        step=int(job.progress.get("step", 0)),
        total_steps=job.progress.get("total_steps"),
        score=result.get("score"),
        best_step=result.get("best_step"),
    )


def _reason(state: SweepState) -> str:
    """`12 of 20 trials have ended, 5 pruned. The best, trial 7, ...`"""
    error = state.row.error
    if error is not None:
        return str(error["message"])
    sentences = [_progress(state), *_told_best(state), *_outlook(state)]
    return " ".join(sentences)


def _progress(state: SweepState) -> str:
    ended = [trial for trial in state.trials if trial.state != TrialState.RUNNING]
    parts = [
        f"{count} {told}"
        for told in (TrialState.PRUNED.value, TrialState.FAILED.value)
        if (count := state.trials_by_state.get(told, 0))
    ]
    beside = f", {' and '.join(parts)}" if parts else ""
    return f"{len(ended)} of {state.num_trials} trials have ended{beside}."


def _told_best(state: SweepState) -> list[str]:
    best = state.best
    if best is None or best.mean is None:
        return []
    spread = "" if best.standard_deviation is None else f" (standard deviation {_number(best.standard_deviation)})"
    values = " and ".join(f"{path} {_cell(_rounded(value))}" for path, value in best.parameters.items())
    return [
        f"The best is trial {best.number}: {state.spec.objective.metric} {_number(best.mean)}{spread}, with {values}."
    ]


def _outlook(state: SweepState) -> list[str]:
    if state.row.status in (SweepStatus.PAUSED, SweepStatus.CANCELLED):
        return [f"It is {state.row.status}."]
    if state.row.status == SweepStatus.SUCCEEDED:
        return [_result(state)]
    if state.final is not None:
        return [f"Its parameters are trained on all data now, by the job {state.final.id}."]
    spent = ["The budget is spent: no further trial begins."] if state.is_spent else []
    waiting = [job for job in state.all_jobs if job.status == JobStatus.WAITING]
    parents = sorted({str(job.parent_job_id) for job in waiting})
    return [*spent, *(f"Trials wait for the parent {parent}." for parent in parents), *_held(state)]


def _held(state: SweepState) -> list[str]:
    by_user = [
        job.id
        for trial in state.running
        if not state.waits(trial)
        for job in state.jobs.get(trial.number, ())
        if job.status == JobStatus.PAUSED and not state.waits(trial)
    ]
    return [f"Jobs of it are paused until they are resumed: {', '.join(by_user)}."] if by_user else []


def _result(state: SweepState) -> str:
    if state.final is not None:
        return f"The model {state.row.model_id} was trained with its parameters on all data."
    if state.row.model_id is not None:
        return f"Its best checkpoint is the model {state.row.model_id}."
    return "With folds, no trial has learned from all data: ask for `finalize`, or train a job with its parameters."


def _number(value: float) -> str:
    return f"{value:.{SIGNIFICANT_DIGITS}g}"


def _rounded(value: Any) -> Any:
    return float(_number(value)) if isinstance(value, float) else value


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
