"""The rules of sweeps as their user steers them. What happens in between is the controller's, which trainers run."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.contract.errors import Conflict, NotFound
from app.contract.job import TERMINAL, JobStatus
from app.contract.layout import job_prefix
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.sweep import SWEEP_ENDS, SweepSpec, SweepStatus
from app.db import jobs, models, references, sweeps, workers
from app.db.ids import new_id
from app.db.locking import Lock
from app.db.session import Database, now
from app.db.tables import JobRow, SweepRow
from app.dispatch import queues_for
from app.services.deletion import Deletion, deletion_of, refuse_deletion
from app.services.files import remove_files
from app.services.idempotency import Record
from app.services.jobs.control import paused, resumed
from app.services.jobs.service import Wakes, apply
from app.services.paging import cut, id_before
from app.services.sweeps.endings import end_sweep
from app.services.sweeps.judging import is_at_rung
from app.services.sweeps.planning import plan_sweep
from app.services.sweeps.state import SweepState
from app.services.sweeps.views import SweepPage, SweepView, status_of, summary_of, view_of
from app.settings import Settings
from app.storage import ArtifactStore, StoredKey

S = SweepStatus


@dataclass(frozen=True, slots=True)
class Sweeps:
    database: Database
    store: ArtifactStore
    dispatcher: Wakes
    settings: Settings

    def create(self, project_id: str, spec: SweepSpec, record: Record[SweepView] | None = None) -> SweepView:
        """Check that each trial would be accepted. Trainers begin them. Raises InvalidRequest; then nothing is stored.

        `record` as in `Jobs.submit`.
        """
        with self.database.transaction() as session:
            template = plan_sweep(session, project_id, spec, self.settings)
            row = SweepRow(
                id=new_id("swp"),
                project_id=project_id,
                name=spec.name,
                status=S.RUNNING.value,
                spec=spec.model_dump(mode="json"),
                template=template,
                created_at=now(session),
            )
            sweeps.insert(session, row)
            view = view_of(SweepState.read(session, row))
            if record is not None:
                record(session, view)
        return view

    def page(self, project_id: str, statuses: Collection[SweepStatus], cursor: str | None, limit: int) -> SweepPage:
        before_id = id_before(cursor, "swp")
        with self.database.reading() as session:
            found = sweeps.page(session, project_id, statuses, before_id=before_id, limit=limit + 1)
            rows, next_cursor = cut(found, limit)
            summaries = [summary_of(state) for state in SweepState.read_all(session, rows)]
        return SweepPage(data=summaries, next_cursor=next_cursor)

    def get(self, project_id: str, sweep_id: str) -> SweepView:
        with self.database.reading() as session:
            return view_of(SweepState.read(session, sweep_of(session, project_id, sweep_id)))

    def job_of_trial(self, project_id: str, sweep_id: str, number: int) -> PretrainSpec | FinetuneSpec:
        """What trains the values of a trial outside the sweep. Raises NotFound."""
        with self.database.reading() as session:
            state = SweepState.read(session, sweep_of(session, project_id, sweep_id))
            trial = next((trial for trial in state.trials if trial.number == number), None)
            if trial is None:
                raise NotFound(f"The sweep {sweep_id!r} has no trial {number}.")
            return state.template.alone(trial.parameters)

    def pause(self, project_id: str, sweep_id: str) -> SweepView:
        """Its running jobs write a checkpoint first."""
        return self._moved(project_id, sweep_id, _pause)

    def resume(self, project_id: str, sweep_id: str) -> SweepView:
        return self._moved(project_id, sweep_id, _resume)

    def cancel(self, project_id: str, sweep_id: str) -> SweepView:
        """Its jobs keep their checkpoints. Repeating it changes nothing."""
        return self._moved(project_id, sweep_id, _cancel)

    def delete(self, project_id: str, sweep_id: str) -> None:
        """With all its jobs; models that were made of them stay. Raises Conflict while one of them has not ended, or is
        needed."""
        with self.database.transaction() as session:
            row = sweep_of(session, project_id, sweep_id, lock="update")
            state = SweepState.read(session, row, lock="update")
            if not_ended := _not_ended(state):
                raise Conflict(not_ended)
            there = _there(state)
            refuse_deletion(f"the sweep {sweep_id}", _needs(session, there))
            kept = _kept(session, there)
            for job in there:
                jobs.mark_deleted(session, job, now(session))
            sweeps.mark_deleted(session, row, now(session))
        remove_files(self.store, (file.key for file in self._files(project_id, there, kept)))

    def deletion(self, project_id: str, sweep_id: str) -> Deletion:
        with self.database.reading() as session:
            state = SweepState.read(session, sweep_of(session, project_id, sweep_id))
            there = _there(state)
            not_ended = _not_ended(state)
            blocked_by = [not_ended] if not_ended else _needs(session, there)
            kept = _kept(session, there)
            made = [model_id for job in there for model_id in models.ids_of_job(session, job.id)]
        stays = [f"These models stay usable, and keep their files: {', '.join(made)}."] if made else []
        sizes = (file.size_bytes for file in self._files(project_id, there, kept))
        return deletion_of(sizes, blocked_by, [f"Its {len(there):,} jobs go with it.", *stays])

    def _files(self, project_id: str, there: Sequence[JobRow], kept: Collection[str]) -> Iterator[StoredKey]:
        for job in there:
            yield from (file for file in self.store.list(job_prefix(project_id, job.id)) if file.key not in kept)

    def _moved(
        self, project_id: str, sweep_id: str, move: Callable[[Session, SweepState], Collection[str]]
    ) -> SweepView:
        """`move` gives the devices of jobs that became queued."""
        with self.database.transaction() as session:
            row = sweep_of(session, project_id, sweep_id, lock="update")
            devices = move(session, SweepState.read(session, row, lock="update"))
            session.flush()
            view = view_of(SweepState.read(session, row))
            live_queues = workers.live_queues(session, now(session) - self.settings.silence)
        wanted = {name for device in devices for name in queues_for(device, live_queues)}
        if wanted:
            self.dispatcher.wake(wanted)
        return view


def sweep_of(session: Session, project_id: str, sweep_id: str, *, lock: Lock | None = None) -> SweepRow:
    """Raises NotFound; a sweep of another project is not there."""
    row = sweeps.get(session, project_id, sweep_id, lock=lock)
    if row is None:
        raise NotFound(f"There is no sweep {sweep_id!r}.")
    return row


def _pause(session: Session, state: SweepState) -> Collection[str]:
    """A job that waits for its parent is paused once that has ended."""
    if state.row.status != S.RUNNING:
        raise _conflict(state, "paused", "only a running sweep can be")
    for job in state.all_jobs:
        if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
            apply(session, job, paused(job))
    state.row.status = S.PAUSED.value
    return ()


def _resume(session: Session, state: SweepState) -> Collection[str]:
    if status_of(state) is not S.PAUSED:
        raise _conflict(state, "resumed", "only a paused sweep can be, when all its jobs have paused")
    state.row.status = S.RUNNING.value
    held = [job for job in state.all_jobs if job.status == JobStatus.PAUSED and not is_at_rung(job)]
    for job in held:
        apply(session, job, resumed(job))
    return {job.device for job in held}


def _cancel(session: Session, state: SweepState) -> Collection[str]:
    if state.row.status == S.CANCELLED:
        return ()
    if state.row.status in SWEEP_ENDS:
        raise _conflict(state, "cancelled", "only a sweep that has not ended can be")
    end_sweep(session, state, S.CANCELLED)
    return ()


def _not_ended(state: SweepState) -> str | None:
    """What of it has not, as a sentence."""
    if state.row.status not in SWEEP_ENDS:
        return _told(state, "deleted", "only a sweep that has ended can be. Cancel it first")
    if open_jobs := [job.id for job in state.all_jobs if job.status not in TERMINAL]:
        return (
            f"Jobs of the sweep {state.row.id} have not ended: {', '.join(open_jobs[: jobs.MAX_NAMED])}. Wait for "
            "them, or cancel them."
        )
    return None


def _there(state: SweepState) -> list[JobRow]:
    return [job for job in state.all_jobs if job.deleted_at is None]


def _kept(session: Session, there: Sequence[JobRow]) -> set[str]:
    """Files of these jobs that others refer to."""
    return {key for job in there for key in references.files_beyond_job(session, job.id)}


def _needs(session: Session, there: Sequence[JobRow]) -> list[str]:
    children = sorted({child for job in there for child in jobs.children_in_need(session, job.id)})
    return [f"Jobs that have not ended start from it: {', '.join(children)}."] if children else []


def _conflict(state: SweepState, what: str, rule: str) -> Conflict:
    return Conflict(_told(state, what, rule))


def _told(state: SweepState, what: str, rule: str) -> str:
    return f"The sweep {state.row.id} is {status_of(state)} and cannot be {what}: {rule}."
