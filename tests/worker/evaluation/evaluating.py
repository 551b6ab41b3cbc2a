"""Evaluations in this process: real models, small data, and what a run reports."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.evaluations import REPORT_NAME, UNITS_NAME, EvaluationReport
from app.contract.messages import ArtifactLine, DatasetInput, EvaluatedLine, EvaluationAssignment, ReportLine
from app.contract.specs import EvaluateSpec
from app.evaluation.units import Units, read_units
from worker.training_run import run_assignment

DATASET_ID = "ds_" + "0" * 32


class Killed(BaseException):
    """The process has died here."""


@dataclass
class Attempt:
    """`until_part`: it dies before it can report the part of that name."""

    model: Path
    dataset: DatasetInput
    folder: Path
    num_records: int = 100
    seed: int = 0
    until_part: str | None = None
    on_report: Callable[[ReportLine], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)
    lines: list[ReportLine] = field(default_factory=list)

    def run(self) -> int:
        """The exit code."""
        parts = self.folder / "parts"
        parts.mkdir(parents=True, exist_ok=True)
        assignment = EvaluationAssignment(
            job_id="job_1",
            attempt=1,
            spec=EvaluateSpec(kind="evaluate", model="model_1", dataset=DATASET_ID, seed=self.seed, resamples=200),
            dataset=self.dataset,
            num_records=self.num_records,
            model=self.model,
            parts_dir=parts,
            output_dir=self.folder,
            cache_dir=self.folder / "cache",
        )
        return run_assignment(assignment, self._accept, stop=self.stop)

    def _accept(self, line: ReportLine) -> None:
        if isinstance(line, ArtifactLine) and line.name == self.until_part:
            line.path.unlink()  # what was not reported is not there for the next attempt
            raise Killed
        self.lines.append(line)
        self.on_report(line)

    @property
    def last(self) -> ReportLine:
        return self.lines[-1]

    @property
    def report(self) -> EvaluationReport:
        assert isinstance(self.last, EvaluatedLine), self.last
        return self.last.report

    @property
    def units(self) -> Units:
        return read_units(self.folder / UNITS_NAME)

    @property
    def result(self) -> tuple[bytes, bytes]:
        return (self.folder / REPORT_NAME).read_bytes(), (self.folder / UNITS_NAME).read_bytes()

    @property
    def reported_parts(self) -> list[str]:
        return [line.name for line in self.lines if isinstance(line, ArtifactLine) and "/" in line.name]

    def measures(self) -> dict[str, float]:
        assert self.run() == 0, self.last
        return {name: measure.value for name, measure in self.report.measures.items()}
