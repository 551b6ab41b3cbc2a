"""What a project may take up: queued jobs and stored bytes are refused beyond it, running jobs wait."""

from typing import Any

import pytest

from app.contract.errors import Conflict
from app.contract.job import JobStatus
from app.contract.specs import job_spec_adapter
from app.db import usage
from app.db.session import Database
from app.records.pool import ValidatorPool
from app.services.datasets import DatasetForm, Datasets
from app.services.jobs import Jobs
from app.services.models import Models
from app.services.quotas import QuotaExceeded, Quotas
from app.services.uploads import IncomingFile
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import language_model_spec, make_dataset, make_job, make_model
from tests.support.threads import together


class NoWakes:
    def wake(self, queues: object) -> None:
        """Nobody listens."""


def jobs_of(database: Database, settings: Settings, **limits: Any) -> Jobs:
    return Jobs(database, NoWakes(), settings.model_copy(update=limits))


def submit(jobs: Jobs, project_id: str = "default") -> str:
    spec = language_model_spec(make_dataset(jobs.database, project_id=project_id).id)
    return jobs.submit(project_id, job_spec_adapter.validate_python(spec)).id


class TestQueuedJobs:
    def test_however_many_come_at_once_no_more_are_queued_than_may_be(
        self, database: Database, settings: Settings
    ) -> None:
        jobs = jobs_of(database, settings, max_queued_jobs=3)
        make_job(database, status=JobStatus.WAITING)
        make_job(database, status=JobStatus.RUNNING)
        refused: list[QuotaExceeded] = []

        def ask() -> None:
            try:
                submit(jobs)
            except QuotaExceeded as error:
                refused.append(error)

        together(6, ask)
        assert len(refused) == 4
        assert refused[0].retry_after_seconds
        for told in ("default has 3 jobs", "may have 3", "PRETUNE_MAX_QUEUED_JOBS"):
            assert told in refused[0].detail
        assert Quotas(database, jobs.settings).view("default").queued_jobs.used == 3
        submit(jobs, "other")

    @pytest.mark.parametrize(
        ("status", "move"), [(JobStatus.PAUSED, "resume"), (JobStatus.FAILED, "retry"), (JobStatus.CANCELLED, "retry")]
    )
    def test_a_job_that_comes_back_counts_too(
        self, database: Database, settings: Settings, status: JobStatus, move: str
    ) -> None:
        jobs = jobs_of(database, settings, max_queued_jobs=1)
        back = make_job(database, status=status).id
        first = submit(jobs)
        with pytest.raises(QuotaExceeded):
            getattr(jobs, move)("default", back)
        assert jobs.get("default", back).status is status
        jobs.cancel("default", first)
        assert getattr(jobs, move)("default", back).status is JobStatus.QUEUED
        with pytest.raises(Conflict):
            getattr(jobs, move)("default", back)


class TestStoredBytes:
    @pytest.fixture(autouse=True)
    def stored(self, database: Database, store: FolderStore) -> None:
        """5,000 bytes of a data set that two share, and a model whose checkpoint is its job's."""
        dataset = make_dataset(database)
        make_dataset(database, blob_key=dataset.blob_key)
        job = make_job(database, status=JobStatus.SUCCEEDED, spec=language_model_spec(dataset.id))
        self.model = make_model(database, store, job=job)
        self.used = 5_000 + self.model.size_bytes

    def used_by(self, database: Database, project_id: str = "default") -> int:
        with database.reading() as session:
            return usage.stored_bytes(session, project_id)

    def test_shared_bytes_count_once(self, database: Database, store: FolderStore) -> None:
        assert self.used_by(database) == self.used
        assert self.used_by(database, "other") == 0
        Models(database, store, Settings()).delete("default", self.model.id)
        assert self.used_by(database) == self.used, "the job keeps its checkpoint"

    def test_a_file_that_does_not_fit_is_refused_and_leaves_nothing(
        self, database: Database, store: FolderStore, settings: Settings, validators: ValidatorPool
    ) -> None:
        content = b'{"text": "hello"}\n'
        fits = Datasets(database, store, validators, self.used + len(content))
        upload(fits, settings, content)
        upload(fits, settings, content)  # the same bytes are stored once
        for more in (content + b"\n", b"what is no data set"):  # which is told before it is judged
            with pytest.raises(QuotaExceeded, match=r"19 more do not fit.*PRETUNE_MAX_STORED_BYTES"):
                upload(fits, settings, more)
        assert self.used_by(database) == self.used + len(content)
        assert len(list((settings.artifacts_dir / "default" / "blobs").iterdir())) == 1

    def test_a_job_is_refused_where_its_checkpoints_would_not_fit(self, database: Database, settings: Settings) -> None:
        with pytest.raises(QuotaExceeded, match="do not fit"):
            submit(jobs_of(database, settings, max_stored_bytes=self.used + 5_000))
        submit(jobs_of(database, settings, max_stored_bytes=self.used + 10_000 + 2**30))


def upload(datasets: Datasets, settings: Settings, content: bytes) -> None:
    with IncomingFile(settings.scratch_dir / "uploads", 1 << 20) as incoming:
        incoming.write(content)
        datasets.create("default", incoming.finished("a.jsonl"), DatasetForm(kind="text"))
