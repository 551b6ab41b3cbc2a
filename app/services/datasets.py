"""The rules of data sets: validated wholly before they exist, immutable, one blob for equal bytes in a project."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, BinaryIO

from pydantic import Field, StringConstraints
from sqlalchemy.orm import Session

from app.contract.base import Contract
from app.contract.errors import ErrorCode, InvalidRequest, NotFound, Overloaded, ServiceError, Unavailable
from app.contract.layout import blob_key
from app.db import datasets, sweeps
from app.db.ids import new_id
from app.db.session import Database, now
from app.db.tables import DatasetRow
from app.records import DatasetReport, InvalidDataset
from app.records.pool import ValidatorPool, ValidatorsBusy, ValidatorUnavailable
from app.services.deletion import Deletion, deletion_of, refuse_deletion
from app.services.files import Download, chunks_of, opened, remove_files
from app.services.idempotency import Record
from app.services.paging import id_before
from app.services.quotas import check_storage
from app.services.uploads import Upload
from app.storage import ArtifactStore

MAX_PREVIEW_RECORDS = 100
BUSY_SECONDS = 15


class DatasetForm(Contract):
    """What a user says of a file beside the file."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)] | None = None
    kind: str | None = None
    columns: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)


class DatasetView(Contract):
    id: str
    name: str
    filename: str
    kind: str
    columns: dict[str, str]
    num_examples: int
    size_bytes: int
    sha256: str
    profile: dict[str, Any]
    warnings: list[str]
    created_at: datetime


class DatasetPage(Contract):
    data: list[DatasetView]
    next_cursor: str | None


class DatasetPreview(Contract):
    """The first records, in the shape that they were uploaded in; images as base64 PNG."""

    data: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Datasets:
    """`validators` judge files in processes of their own, so that no file can harm this one."""

    database: Database
    store: ArtifactStore
    validators: ValidatorPool
    max_stored_bytes: int | None = None

    def create(
        self, project_id: str, upload: Upload, form: DatasetForm, record: Record[DatasetView] | None = None
    ) -> DatasetView:
        """Validate the file, then store it, then make the row: whatever fails, nothing is left.

        Raises InvalidRequest (`invalid_dataset`) with the located errors. `record` as in `Jobs.submit`.
        """
        key = blob_key(project_id, upload.sha256)
        with self.database.reading() as session:
            self._check_room(session, project_id, key, upload.size_bytes)  # before the work of judging it
        report = self._validated(upload, form)
        try:
            return self._stored(_row(project_id, upload, form, report, key), upload, record)
        except OSError as error:
            self._drop_if_unused(key)
            raise Unavailable(f"The file cannot be stored now: {error.strerror}.") from error
        except BaseException:
            self._drop_if_unused(key)
            raise

    def page(self, project_id: str, cursor: str | None, limit: int) -> DatasetPage:
        before_id = id_before(cursor, "ds")
        with self.database.reading() as session:
            rows = datasets.page(session, project_id, before_id=before_id, limit=limit + 1)
        return _page(rows, limit)

    def get(self, project_id: str, dataset_id: str) -> DatasetView:
        return _view(self._row(project_id, dataset_id))

    def preview(self, project_id: str, dataset_id: str, limit: int) -> DatasetPreview:
        from app.records.preview import preview  # noqa: PLC0415  pyarrow and Pillow cost an api 0.2 s at start

        row = self._row(project_id, dataset_id)
        with self._opened(row) as file:
            return DatasetPreview(data=preview(file, row.filename, row.kind, row.columns, limit))

    def content(self, project_id: str, dataset_id: str) -> Download:
        """The bytes as they were uploaded; the file is open when this returns."""
        row = self._row(project_id, dataset_id)
        chunks = chunks_of(self._opened(row))
        return Download(row.filename, "application/octet-stream", chunks, row.size_bytes, row.sha256)

    def delete(self, project_id: str, dataset_id: str) -> None:
        """The bytes go with the last data set that shares them. Raises Conflict while a job needs it."""
        with self.database.transaction() as session:
            row = datasets.get(session, project_id, dataset_id, lock="update")
            if row is None:
                raise _not_found(dataset_id)
            refuse_deletion(f"the data set {dataset_id}", _needs(session, project_id, dataset_id))
            datasets.lock_blob(session, row.blob_key)
            datasets.mark_deleted(session, row, now(session))
            if not datasets.blob_in_use(session, row.blob_key):
                remove_files(self.store, [row.blob_key])

    def deletion(self, project_id: str, dataset_id: str) -> Deletion:
        """What `delete` would do now."""
        row = self._row(project_id, dataset_id)
        with self.database.reading() as session:
            needs, num_jobs = _needs(session, project_id, dataset_id), datasets.num_jobs(session, dataset_id)
            sharing = datasets.sharing_blob(session, row)
        told = f"The jobs that were trained on it ({num_jobs}) and their models stay. The jobs cannot be retried."
        stays = [told] if num_jobs else []
        if sharing:
            return deletion_of((), needs, [f"The data set {sharing} holds the same bytes and keeps them.", *stays])
        return deletion_of([row.size_bytes], needs, stays)

    def _validated(self, upload: Upload, form: DatasetForm) -> DatasetReport:
        try:
            return self.validators.inspect(upload.path, upload.filename, form.kind, form.columns)
        except InvalidDataset as error:
            raise _invalid(error) from None
        except ValidatorsBusy:
            raise Overloaded("Too many files are being validated now.", retry_after_seconds=BUSY_SECONDS) from None
        except ValidatorUnavailable as error:
            raise Unavailable(f"The file cannot be validated now: {error}. Try again in a moment.") from error

    def _stored(self, row: DatasetRow, upload: Upload, record: Record[DatasetView] | None) -> DatasetView:
        """A deletion may take the shared bytes away until the row stands: then they are put again."""
        while True:
            if not self.store.exists(row.blob_key):
                self.store.put(row.blob_key, upload.path)
            with self.database.transaction() as session:
                datasets.lock_blob(session, row.blob_key)
                if self.store.exists(row.blob_key):
                    self._check_room(session, row.project_id, row.blob_key, row.size_bytes)
                    row.created_at = now(session)
                    datasets.insert(session, row)
                    view = _view(row)
                    if record is not None:
                        record(session, view)
                    return view

    def _check_room(self, session: Session, project_id: str, key: str, size_bytes: int) -> None:
        """Raises QuotaExceeded. Bytes that the project has already need no more room."""
        new_bytes = 0 if datasets.blob_in_use(session, key) else size_bytes
        check_storage(session, project_id, new_bytes, self.max_stored_bytes)

    def _drop_if_unused(self, key: str) -> None:
        with self.database.transaction() as session:
            datasets.lock_blob(session, key)
            if not datasets.blob_in_use(session, key):
                remove_files(self.store, [key])

    def _opened(self, row: DatasetRow) -> BinaryIO:
        return opened(self.store, row.blob_key, f"the data set {row.id}")

    def _row(self, project_id: str, dataset_id: str) -> DatasetRow:
        with self.database.reading() as session:
            row = datasets.get(session, project_id, dataset_id)
        if row is None:
            raise _not_found(dataset_id)
        return row


def _needs(session: Session, project_id: str, dataset_id: str) -> list[str]:
    """What keeps the data set from going, in sentences."""
    needs = {
        "Jobs that have not ended need it": datasets.jobs_in_need(session, dataset_id),
        "Sweeps that have not ended need it": sweeps.in_need(session, project_id, dataset_id),
    }
    return [f"{need}: {', '.join(names)}." for need, names in needs.items() if names]


def _invalid(error: InvalidDataset) -> ServiceError:
    told = "" if error.total <= len(error.errors) else f"; the first {len(error.errors)} are listed"
    plural = "error" if error.total == 1 else "errors"
    return InvalidRequest(
        f"The file is no valid data set: {error.total:,} {plural}{told}. Nothing was stored.",
        code=ErrorCode.INVALID_DATASET,
        errors=error.errors,
    )


def _not_found(dataset_id: str) -> NotFound:
    return NotFound(f"There is no data set {dataset_id!r}.")


def _row(project_id: str, upload: Upload, form: DatasetForm, report: DatasetReport, key: str) -> DatasetRow:
    return DatasetRow(
        id=new_id("ds"),
        project_id=project_id,
        name=form.name or upload.filename[:200],
        filename=upload.filename,
        kind=report.kind.value,
        columns=report.columns,
        num_examples=report.num_examples,
        size_bytes=upload.size_bytes,
        sha256=upload.sha256,
        blob_key=key,
        profile=report.profile,
        warnings=report.warnings,
    )


def _view(row: DatasetRow) -> DatasetView:
    return DatasetView.model_validate({name: getattr(row, name) for name in DatasetView.model_fields})


def _page(rows: Sequence[DatasetRow], limit: int) -> DatasetPage:
    shown = rows[:limit]
    return DatasetPage(data=[_view(row) for row in shown], next_cursor=shown[-1].id if len(rows) > limit else None)
