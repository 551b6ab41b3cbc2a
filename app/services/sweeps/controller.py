"""Drives sweeps: judges trials, promotes and prunes them, begins new ones, ends the sweep.

A pure function of the rows, repeated by whoever likes: each step is one transaction that begins with the sweep's lock
and believes nothing that was read before it. The same rows are proposed the same trial (`proposals`), and a trial
stands with all its jobs or not at all; so whoever dies between two steps, no trial is lost and none is made twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, InvalidRequest, JobError, NotFound, ServiceError
from app.contract.job import TERMINAL, Fault, JobStatus
from app.contract.messages import Resolved
from app.contract.specs.sweep import SweepStatus, TrialState
from app.db import aliases, sweeps
from app.db.session import Database, now
from app.db.tables import JobRow, SweepRow, TrialRow
from app.services.jobs.control import Move, cancelled, paused
from app.services.jobs.lookup import job_of
from app.services.jobs.service import apply, insert_job
from app.services.models import Models
from app.services.quotas import QuotaExceeded
from app.services.sweeps.endings import end_sweep
from app.services.sweeps.halving import Verdict, decide, decide_without_means
from app.services.sweeps.judging import NotMeasured, first_error, judged
from app.services.sweeps.proposals import Tried, importance, proposal
from app.services.sweeps.search import Json
from app.services.sweeps.state import SweepState
from app.settings import Settings
from app.storage import ArtifactStore

_log = structlog.get_logger(__name__)

#: What is wrong with a sweep's parent is wrong with all its trials.
OF_ALL_TRIALS = frozenset({ErrorCode.PARENT_FAILED})


@dataclass(frozen=True, slots=True)
class SweepController:
    """`stop` ends a round early. For any number of threads and processes."""

    database: Database
    store: ArtifactStore
    settings: Settings
    stop: Callable[[], bool] = lambda: False

    def is_due(self, session: Session) -> bool:
        return sweeps.any_running(session) or bool(sweeps.unpaused_jobs(session))

    def round(self) -> set[str]:
        """One look at every sweep; the devices that jobs want which became claimable."""
        devices: set[str] = set()
        self._pause_released()
        with self.database.reading() as session:
            running = sweeps.running(session)
        for sweep_id in running:
            if self.stop():
                break
            try:
                devices |= _Look(self, sweep_id).take()
            except SQLAlchemyError:
                raise
            except Exception:  # noqa: BLE001  the edge of one sweep: the others go on
                _log.exception("sweep_broke", sweep_id=sweep_id)
        return devices

    def _pause_released(self) -> None:
        """A job that waited for its parent when its sweep was paused is held once it is queued."""
        with self.database.reading() as session:
            queued = sweeps.unpaused_jobs(session)
        for project_id, job_id in queued:
            with self.database.transaction() as session:
                row = job_of(session, project_id, job_id, lock="update")
                if row.status == JobStatus.QUEUED:
                    apply(session, row, paused(row))


@dataclass(slots=True)
class _Look:
    """One look at one sweep. `devices` are those that jobs want which have become claimable."""

    controller: SweepController
    sweep_id: str
    devices: set[str] = field(default_factory=set)

    def take(self) -> set[str]:
        if self._has_news():
            self._judge()
        self._decide()
        while self._begin():
            pass
        self._conclude()
        return self.devices

    def _has_news(self) -> bool:
        with self.controller.database.reading() as session:
            state = self._state(session)
            if state is None:
                return False
            ended = (*TERMINAL, JobStatus.PAUSED)
            return any(job.status in ended for trial in state.running for job in state.jobs.get(trial.number, ()))

    def _judge(self) -> None:
        """Write down what trials have come to whose jobs have ended, or stand at a rung."""
        with self.controller.database.transaction() as session:
            state = self._locked(session)
            if state is None:
                return
            before = len(state.complete)
            for trial in state.running:
                self._judge_trial(session, state, trial)
            fatal = next((trial for trial in state.trials if _error_code(trial) in OF_ALL_TRIALS), None)
            if fatal is not None:
                end_sweep(session, state, SweepStatus.FAILED, error=fatal.error)
                return
            has_more = len(state.complete) > before
        if has_more:
            self._weigh()

    def _judge_trial(self, session: Session, state: SweepState, trial: TrialRow) -> None:
        mine = state.jobs[trial.number]
        error = first_error(mine)
        try:
            if error is not None:
                _fail(session, trial, mine, error)
            elif all(job.status == JobStatus.SUCCEEDED for job in mine):
                _complete(session, state, trial, mine)
            elif state.waits(trial) and str(trial.rung) not in trial.rung_scores:
                until_step = max(int(job.progress["step"]) for job in mine if job.status != JobStatus.SUCCEEDED)
                score = judged(session, state.spec, mine, until_step=until_step).mean
                trial.rung_scores = trial.rung_scores | {str(trial.rung): score}
        except NotMeasured as failure:
            _fail(session, trial, mine, failure.error)

    def _weigh(self) -> None:
        """What each parameter matters, known anew with each trial that has come to its end."""
        with self.controller.database.reading() as session:
            state = self._state(session)
        if state is None or (weights := importance(state.spec, _tried(state))) is None:
            return
        with self.controller.database.transaction() as session:
            if (row := sweeps.locked_running(session, self.sweep_id)) is not None:
                row.importance = weights

    def _decide(self) -> None:
        """Promote and prune those that stand at rungs."""
        with self.controller.database.reading() as session:
            state = self._state(session)
            if state is None or not any(standing.waits for standing in state.standings):
                return
        with self.controller.database.transaction() as session:
            state = self._locked(session)
            if state is None:
                return
            verdict = _verdict(state)
            by_number = {trial.number: trial for trial in state.trials}
            for number in verdict.pruned:
                _prune(session, by_number[number], state.jobs[number])
            free = max(0, state.spec.max_parallel - state.num_active)
            for number in verdict.promoted[:free]:
                self.devices |= _promote(session, state, by_number[number], state.jobs[number])

    def _begin(self) -> bool:
        """Begin one more trial; False where there is none to begin, or no place for it."""
        with self.controller.database.reading() as session:
            state = self._state(session)
            if state is None or not _has_place(state):
                return False
            parameters = proposal(state.spec, _tried(state))
            number = len(state.trials)
        try:
            with self.controller.database.transaction() as session:
                state = self._locked(session)
                if state is None or len(state.trials) != number or not _has_place(state):
                    return False
                self.devices |= self._insert_trial(session, state, parameters)
                state.row.error = None
        except QuotaExceeded as error:
            self._hold(error)
            return False
        except InvalidRequest as error:
            return self._refuse(number, parameters, error)
        return True

    def _insert_trial(self, session: Session, state: SweepState, parameters: Json) -> set[str]:
        number = len(state.trials)
        sweeps.insert(session, _trial_row(session, state.row, number, parameters))
        devices = set()
        for fold in range(state.spec.folds or 1):
            row = insert_job(
                session,
                state.row.project_id,
                state.template.trial(number, parameters, fold),
                self.controller.settings,
                sweep_id=state.row.id,
                trial=number,
                fold=fold,
                pause_at=next(iter(state.spec.rungs), None),
            )
            if row.status == JobStatus.QUEUED:
                devices.add(row.device)
        return devices

    def _refuse(self, number: int, parameters: Json, refusal: InvalidRequest) -> bool:
        """The trial fails before it has begun; what is wrong with all of them ends the sweep."""
        error = JobError(code=refusal.code, message=refusal.detail, fault=Fault.USER).model_dump(mode="json")
        with self.controller.database.transaction() as session:
            state = self._locked(session)
            if state is None or len(state.trials) != number:
                return False
            trial = _trial_row(session, state.row, number, parameters)
            trial.state, trial.error, trial.finished_at = TrialState.FAILED.value, error, trial.created_at
            sweeps.insert(session, trial)
            if refusal.code in OF_ALL_TRIALS:
                end_sweep(session, state, SweepStatus.FAILED, error=error)
                return False
        return True

    def _hold(self, refusal: ServiceError) -> None:
        """There is no room now; a later look tries again."""
        error = JobError(code=refusal.code, message=refusal.detail, fault=Fault.USER).model_dump(mode="json")
        with self.controller.database.reading() as session:
            state = self._state(session)
            if state is None or state.row.error == error:
                return
        with self.controller.database.transaction() as session:
            if (row := sweeps.locked_running(session, self.sweep_id)) is not None:
                row.error = error

    def _conclude(self) -> None:
        """End the sweep whose trials have all ended."""
        with self.controller.database.reading() as session:
            state = self._state(session)
            if state is None or state.running or state.more_to_come:
                return
        best = state.best
        if best is None:
            self._end(SweepStatus.FAILED, error=_all_failed(state))
        elif _trains_finally(state):
            self._conclude_finally(state, best)
        else:
            self._conclude_with(state, best)

    def _conclude_finally(self, state: SweepState, best: TrialRow) -> None:
        final = state.final
        if final is None:
            self._begin_final(best)
        elif final.status == JobStatus.SUCCEEDED:
            self._end(SweepStatus.SUCCEEDED, model_id=final.model_id)
        elif (error := first_error([final])) is not None and final.status in TERMINAL:
            self._end(SweepStatus.FAILED, error=error.model_dump(mode="json"))

    def _begin_final(self, best: TrialRow) -> None:
        try:
            with self.controller.database.transaction() as session:
                state = self._locked(session)
                if state is None or state.row.final_job_id is not None:
                    return
                spec = state.template.final(best.parameters, best.results)
                row = insert_job(session, state.row.project_id, spec, self.controller.settings, sweep_id=self.sweep_id)
                state.row.final_job_id, state.row.error = row.id, None
            self.devices.add(row.device)
        except QuotaExceeded as error:
            self._hold(error)
        except InvalidRequest as error:
            told = JobError(code=error.code, message=error.detail, fault=Fault.USER)
            self._end(SweepStatus.FAILED, error=told.model_dump(mode="json"))

    def _conclude_with(self, state: SweepState, best: TrialRow) -> None:
        try:
            model_id = self._model_of(state, best) if state.spec.folds is None else None
        except NotFound as gone:  # no retry would bring it back
            error = JobError(code=gone.code, message=gone.detail, fault=Fault.INFRASTRUCTURE)
            self._end(SweepStatus.FAILED, error=error.model_dump(mode="json"))
        else:
            self._end(SweepStatus.SUCCEEDED, model_id=model_id)

    def _model_of(self, state: SweepState, best: TrialRow) -> str:
        """The best checkpoint of the best trial becomes a model."""
        job_id, step = best.results[0]["job_id"], best.results[0]["best_step"]
        models = Models(self.controller.database, self.controller.store, self.controller.settings)
        model_id = models.promote(state.row.project_id, job_id, step).id
        with self.controller.database.transaction() as session:
            job_of(session, state.row.project_id, job_id, lock="update").model_id = model_id
        return model_id

    def _end(self, status: SweepStatus, *, model_id: str | None = None, error: dict[str, object] | None = None) -> None:
        with self.controller.database.transaction() as session:
            state = self._locked(session)
            if state is None:
                return
            finalize = state.spec.finalized
            if model_id is not None and finalize is not None and finalize.alias is not None:
                aliases.put(session, state.row.project_id, finalize.alias, model_id, now(session))
            state.row.model_id = model_id
            end_sweep(session, state, status, error=error)

    def _state(self, session: Session) -> SweepState | None:
        row = session.get(SweepRow, self.sweep_id)
        return None if row is None or row.status != SweepStatus.RUNNING else SweepState.read(session, row)

    def _locked(self, session: Session) -> SweepState | None:
        row = sweeps.locked_running(session, self.sweep_id)
        return None if row is None else SweepState.read(session, row, lock="update")


def _verdict(state: SweepState) -> Verdict:
    pruner, rungs = state.spec.pruner, state.spec.rungs
    assert pruner is not None, "without rungs nobody waits at one"
    if state.is_spent:
        return decide_without_means(state.standings, len(rungs))
    return decide(
        state.standings,
        factor=pruner.reduction_factor,
        num_rungs=len(rungs),
        num_trials=state.num_trials,
        more_to_come=state.more_to_come,
    )


def _has_place(state: SweepState) -> bool:
    """Those that go on come first: while one is only to be promoted, no new one begins."""
    return state.more_to_come and state.num_active < state.spec.max_parallel


def _trains_finally(state: SweepState) -> bool:
    """Where a data set of its own validates, the best trial has had all data already."""
    return state.spec.finalized is not None and not (
        state.spec.folds is None and state.spec.job.training.validation_dataset is not None
    )


def _trial_row(session: Session, row: SweepRow, number: int, parameters: Json) -> TrialRow:
    return TrialRow(
        sweep_id=row.id,
        number=number,
        parameters=parameters,
        state=TrialState.RUNNING.value,
        rung=0,
        rung_scores={},
        results=[],
        created_at=now(session),
    )


def _complete(session: Session, state: SweepState, trial: TrialRow, mine: Sequence[JobRow]) -> None:
    """One that stopped early counts at the rungs behind, too."""
    result = judged(session, state.spec, mine)
    missing = {str(rung): result.mean for rung in range(len(state.spec.rungs)) if str(rung) not in trial.rung_scores}
    trial.rung_scores = trial.rung_scores | missing
    trial.mean, trial.standard_deviation, trial.results = result.mean, result.standard_deviation, result.results
    _end_trial(session, trial, TrialState.COMPLETE)


def _fail(session: Session, trial: TrialRow, mine: Sequence[JobRow], error: JobError) -> None:
    trial.error = error.model_dump(mode="json")
    _cancel(session, mine)
    _end_trial(session, trial, TrialState.FAILED)


def _prune(session: Session, trial: TrialRow, mine: Sequence[JobRow]) -> None:
    _cancel(session, mine)
    _end_trial(session, trial, TrialState.PRUNED)


def _end_trial(session: Session, trial: TrialRow, state: TrialState) -> None:
    trial.state, trial.finished_at = state.value, now(session)
    session.flush()


def _cancel(session: Session, mine: Sequence[JobRow]) -> None:
    for job in mine:
        if job.status not in TERMINAL and (move := cancelled(job)) is not None:
            apply(session, job, move)


def _promote(session: Session, state: SweepState, trial: TrialRow, mine: Sequence[JobRow]) -> set[str]:
    """On to the next rung that lies ahead, or to the end; the devices that its jobs want. Where evaluations are further
    apart than rungs, several fall together."""
    waiting = [job for job in mine if job.status != JobStatus.SUCCEEDED]
    rungs, rung = state.spec.rungs, trial.rung + 1
    while rung < len(rungs) and not all(_lies_ahead(job, rungs[rung]) for job in waiting):
        trial.rung_scores = trial.rung_scores | {str(rung): trial.rung_scores[str(trial.rung)]}
        rung += 1
    trial.rung = rung
    for job in waiting:
        apply(session, job, Move(JobStatus.QUEUED, {"pause_at": rungs[rung] if rung < len(rungs) else None}))
    session.flush()
    return {job.device for job in waiting}


def _lies_ahead(job: JobRow, fraction: float) -> bool:
    step = Resolved.model_validate(job.resolved).pause_step(fraction)
    return step is None or step > int(job.progress["step"])


def _tried(state: SweepState) -> list[Tried]:
    return [
        Tried(
            trial.parameters,
            TrialState(trial.state),
            trial.mean,
            [trial.rung_scores[rung] for rung in sorted(trial.rung_scores, key=int)],
        )
        for trial in state.trials
    ]


def _error_code(trial: TrialRow) -> str | None:
    return None if trial.error is None else str(trial.error["code"])


def _all_failed(state: SweepState) -> dict[str, object]:
    first = next(JobError.model_validate(each.error, strict=False) for each in state.trials if each.error is not None)
    told = f"None of the {len(state.trials)} trials came to its end. The first failed: {first.message}"
    return first.model_copy(update={"message": told}).model_dump(mode="json")
