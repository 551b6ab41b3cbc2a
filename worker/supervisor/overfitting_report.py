"""The report on overfitting as files, from what the database holds of a job. Its judgement is `overfitting`'s."""

from pathlib import Path

from sqlalchemy.orm import Session

from app.db import metrics
from app.db.tables import DatasetRow, JobRow
from worker.supervisor.overfitting import TRAIN, VALIDATION, as_markdown, judged
from worker.supervisor.prepare import training_spec_of

REPORT_NAME, READABLE_NAME = "overfitting-report.json", "overfitting-report.md"
MAX_POINTS = 500


def write_overfitting_report(session: Session, job: JobRow, folder: Path) -> list[tuple[Path, str]]:
    """-> the files with their media types; none for a job that was never trained."""
    curves = metrics.series(session, job.id, [TRAIN, VALIDATION], MAX_POINTS)
    if not curves:
        return []
    report = judged(job.id, training_spec_of(job), session.get_one(DatasetRow, job.dataset_id).kind, curves)
    files = {
        folder / REPORT_NAME: (report.model_dump_json(indent=2) + "\n", "application/json"),
        folder / READABLE_NAME: (as_markdown(report), "text/markdown; charset=utf-8"),
    }
    for path, (text, _) in files.items():
        path.write_text(text, encoding="utf-8")
    return [(path, media_type) for path, (_, media_type) in files.items()]
