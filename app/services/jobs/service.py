"""The rules of a job's life as its user steers it: asked for, looked at, stopped and taken up again.

Nothing here runs a job. A change is committed before a trainer is told to look.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

from app.contract.job import TERMINAL, JobStatus
from app.contract.specs import AnySpec, BatchPredictSpec, EvaluateSpec, FinetuneSpec, ModelJobSpec
from app.db import jobs, usage, workers
from app.db.ids import new_id
from app.db.jobs import JobFilters
from app.db.session import Database, now
from app.db.tables import JobRow
from app.dispatch import queues_for
from app.services.idempotency import Record
from app.services.jobs.batch_prediction import plan_prediction
from app.services.jobs.control import Move, cancelled, paused, resumed, retried
from app.services.jobs.disk import disk_need
from app.services.jobs.evaluation import plan_evaluation
from app.services.jobs.lookup import job_of
from app.services.jobs.model_jobs import PlannedModelJob
from app.services.jobs.planning import Plan, plan
from app.services.jobs.standing import views_of
from app.services.jobs.views import JobPage, JobView
from app.services.paging import cut, id_before
from app.services.quotas import check_queue, check_storage
from app.services.webhooks import webhook_row
from app.settings import Settings
from app.tracing import traces


class Wakes(Protocol):
    """The dispatcher, as far as it is needed here."""

    def wake(self, queues: Collection[str]) -> None:
        """Never waits, never fails."""


@dataclass(frozen=True, slots=True)
class Jobs:
    database: Database
    dispatcher: Wakes
    settings: Settings

    def submit(self, project_id: str, spec: AnySpec, record: Record[JobView] | None = None) -> JobView:
        """Check all that can be known now, then queue the job. Raises InvalidRequest and QuotaExceeded; then nothing
        is stored.

        `record` is called in the transaction that makes the job: what it writes, the answer to an idempotency key,
        stands or falls with it. So no crash can leave a job without its answer, and a repetition never makes a second.
        """
        with self.database.transaction() as session:
            row = insert_job(session, project_id, spec, self.settings)
            [view], wanted = views_of(session, [row], self.settings.silence), self._queues(session, row)
            if record is not None:
                record(session, view)
        self.dispatcher.wake(wanted)
        return view

    def page(self, project_id: str, filters: JobFilters, cursor: str | None, limit: int) -> JobPage:
        with self.database.reading() as session:
            before_id = id_before(cursor, "job")
            found = jobs.page(session, project_id, filters, before_id=before_id, limit=limit + 1)
            rows, next_cursor = cut(found, limit)
            views = views_of(session, rows, self.settings.silence)
        return JobPage(data=views, next_cursor=next_cursor)

    def get(self, project_id: str, job_id: str) -> JobView:
        with self.database.reading() as session:
            return views_of(session, [job_of(session, project_id, job_id)], self.settings.silence)[0]

    def cancel(self, project_id: str, job_id: str) -> JobView:
        """At once where nobody runs the job; else its trainer is asked to. Repeating it changes nothing."""
        return self._moved(project_id, job_id, lambda _, row: cancelled(row))

    def pause(self, project_id: str, job_id: str) -> JobView:
        """A running job writes a checkpoint first."""
        return self._moved(project_id, job_id, lambda _, row: paused(row))

    def resume(self, project_id: str, job_id: str) -> JobView:
        return self._moved(project_id, job_id, lambda _, row: resumed(row))

    def retry(self, project_id: str, job_id: str) -> JobView:
        """From the last good checkpoint, with a fresh allowance of lost attempts and of time."""
        return self._moved(project_id, job_id, retried)

    def _moved(self, project_id: str, job_id: str, decide: Callable[[Session, JobRow], Move | None]) -> JobView:
        """Decide under the row's lock, so that nothing comes between. Raises Conflict as `decide` does."""
        with self.database.transaction() as session:
            row = job_of(session, project_id, job_id, lock="update")
            move = decide(session, row)
            if move is not None:
                if move.to in usage.QUEUED:
                    check_queue(session, project_id, self.settings.max_queued_jobs)
                apply(session, row, move)
            [view] = views_of(session, [row], self.settings.silence)
            wanted = self._queues(session, row) if move is not None else ()
        self.dispatcher.wake(wanted)
        return view

    def _queues(self, session: Session, row: JobRow) -> Collection[str]:
        """Whom to wake for a job that has just become queued."""
        if row.status != JobStatus.QUEUED:
            return ()
        since = now(session) - self.settings.silence
        return queues_for(row.device, workers.live_queues(session, since))


def insert_job(session: Session, project_id: str, spec: AnySpec, settings: Settings, **columns: Any) -> JobRow:
    """The row of a job that passes all checks, in the caller's transaction; `columns` are further ones of it. Raises as
    `Jobs.submit`."""
    row = _planned(session, project_id, spec, settings)
    for name, value in columns.items():
        setattr(row, name, value)
    row.created_at = now(session)
    row.queued_at = row.created_at if row.status == JobStatus.QUEUED else None
    check_queue(session, project_id, settings.max_queued_jobs)
    check_storage(session, project_id, row.store_bytes or 0, settings.max_stored_bytes)
    hook = spec.webhook
    webhook = None if hook is None else webhook_row(hook, project_id, row.created_at, row.id)
    jobs.insert(session, row, webhook)
    return row


def apply(session: Session, row: JobRow, move: Move) -> None:
    """The caller holds the row's lock."""
    at = now(session)
    stamps = {"queued_at": at} if move.to is JobStatus.QUEUED else {"finished_at": at} if move.to in TERMINAL else {}
    moved = jobs.transition(session, row.id, move.to, when={JobStatus(row.status)}, at=at, **(stamps | move.changes))
    assert moved, "the row is locked"


def _planned(session: Session, project_id: str, spec: AnySpec, settings: Settings) -> JobRow:
    match spec:
        case BatchPredictSpec():
            return _model_job_row(project_id, plan_prediction(session, project_id, spec, settings))
        case EvaluateSpec():
            return _model_job_row(project_id, plan_evaluation(session, project_id, spec, settings))
        case _:
            return _training_row(project_id, plan(session, project_id, spec, settings))


def _training_row(project_id: str, planned: Plan) -> JobRow:
    spec, parent, need = planned.spec, planned.parent, disk_need(planned)
    return _row(
        project_id,
        spec,
        status=JobStatus.WAITING if parent and parent.waits else JobStatus.QUEUED,
        method=spec.method.type,
        validation_dataset_id=spec.training.validation_dataset,
        parent_ref=spec.parent if isinstance(spec, FinetuneSpec) else None,
        parent_job_id=parent.job_id if parent else None,
        device=spec.resources.device,
        store_bytes=need.store_bytes,
        scratch_bytes=need.scratch_bytes,
        progress={},
    )


def _model_job_row(project_id: str, planned: PlannedModelJob[Any]) -> JobRow:
    """The model is pinned at once: whatever becomes of its alias, all records are asked of this one. How much its
    result will take is not known."""
    spec: ModelJobSpec = planned.spec
    dataset, model = planned.dataset, planned.model
    return _row(
        project_id,
        spec,
        status=JobStatus.QUEUED,
        method=model.method,
        parent_ref=spec.model,
        parent_model_id=model.id,
        device="cpu",
        scratch_bytes=dataset.size_bytes + model.size_bytes,
        progress={"step": 0, "total_steps": dataset.num_examples, "fraction": 0.0},
    )


def _row(project_id: str, spec: AnySpec, *, status: JobStatus, **columns: Any) -> JobRow:
    return JobRow(
        id=new_id("job"),
        project_id=project_id,
        kind=spec.kind,
        name=spec.name,
        job_metadata=spec.metadata,
        status=status.value,
        spec=spec.model_dump(mode="json"),
        dataset_id=spec.dataset,
        labels=sorted({*spec.resources.labels}),
        priority=spec.priority,
        metrics={},
        traceparent=traces.current(),
        **columns,
    )
