"""What a job leaves for its user: series of metrics, checkpoints and files."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from app.contract.base import Contract
from app.contract.checkpoint import CheckpointManifest
from app.contract.errors import NotFound
from app.db import artifacts, checkpoints, metrics, models
from app.db.session import Database
from app.db.tables import ArtifactRow, CheckpointRow
from app.services.files import Download, chunks_of, opened
from app.services.jobs.lookup import job_of
from app.storage import ArtifactStore


class MetricSeries(Contract):
    """`points` are [step, value], in order of steps."""

    name: str
    points: list[tuple[int, float]]


class MetricSeriesList(Contract):
    data: list[MetricSeries]


class CheckpointView(Contract):
    """`metrics` are those of the evaluation at this step, if there was one. `is_best`: no kept checkpoint was better
    by validation loss. `digest` is that of the model in it.
    """

    step: int
    attempt: int
    metrics: dict[str, float]
    size_bytes: int
    digest: str
    is_best: bool
    is_last: bool
    model_id: str | None
    created_at: datetime


class CheckpointList(Contract):
    data: list[CheckpointView]


class ArtifactView(Contract):
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime


class ArtifactList(Contract):
    data: list[ArtifactView]


@dataclass(frozen=True, slots=True)
class JobResults:
    database: Database
    store: ArtifactStore

    def metrics(self, project_id: str, job_id: str, names: Collection[str], max_points: int) -> MetricSeriesList:
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            found = metrics.series(session, job_id, names, max_points)
        return MetricSeriesList(data=[MetricSeries(name=name, points=points) for name, points in found.items()])

    def checkpoints(self, project_id: str, job_id: str) -> CheckpointList:
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            rows = checkpoints.list_of(session, job_id)
            made = models.by_step(session, job_id)
        best = max((row.step for row in rows if row.manifest["is_best"]), default=None)
        last = rows[-1].step if rows else None
        return CheckpointList(
            data=[
                _checkpoint_view(row, is_best=row.step == best, is_last=row.step == last, model_id=made.get(row.step))
                for row in rows
            ]
        )

    def artifacts(self, project_id: str, job_id: str) -> ArtifactList:
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            rows = artifacts.list_of(session, job_id)
        return ArtifactList(data=[_artifact_view(row) for row in rows])

    def download(self, project_id: str, job_id: str, name: str) -> Download:
        """Raises NotFound. The file is open when this returns, so that nothing can take it away any more."""
        with self.database.reading() as session:
            job_of(session, project_id, job_id)
            row = artifacts.get(session, job_id, name)
        if row is None:
            raise NotFound(f"The job {job_id} has no artifact {name!r}.")
        chunks = chunks_of(opened(self.store, row.key, f"the artifact {name!r}"))
        return Download(row.name, row.media_type, chunks, row.size_bytes, row.sha256)


def _checkpoint_view(row: CheckpointRow, *, is_best: bool, is_last: bool, model_id: str | None) -> CheckpointView:
    manifest = CheckpointManifest.model_validate(row.manifest, strict=False)
    return CheckpointView(
        step=row.step,
        attempt=row.attempt,
        metrics=manifest.metrics,
        size_bytes=row.size_bytes,
        digest=manifest.model_digest,
        is_best=is_best,
        is_last=is_last,
        model_id=model_id,
        created_at=row.created_at,
    )


def _artifact_view(row: ArtifactRow) -> ArtifactView:
    return ArtifactView.model_validate({name: getattr(row, name) for name in ArtifactView.model_fields})
