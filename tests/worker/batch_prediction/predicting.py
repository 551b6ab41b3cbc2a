"""Batch predictions in this process: small real models, small files, and what a run reports."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.messages import ArtifactLine, DatasetInput, PredictionAssignment, ReportLine
from app.contract.specs import BatchPredictSpec
from worker.training_run import run_assignment

DATASET_ID = "ds_" + "0" * 32


def jsonl(folder: Path, kind: str, records: list[dict[str, Any]]) -> DatasetInput:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return _dataset(path, kind)


def images(folder: Path, pixels: Any) -> DatasetInput:
    path = folder / "images.npz"
    np.savez(path, images=pixels)
    return _dataset(path, "images")


def _dataset(path: Path, kind: str) -> DatasetInput:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return DatasetInput(path=path, filename=path.name, kind=kind, columns={}, sha256=digest)


class Killed(Exception):
    """The process has died here."""


@dataclass
class Attempt:
    """`until_part`: it dies before it can report the part that begins with that record."""

    model: Path
    dataset: DatasetInput
    num_records: int
    folder: Path
    operation: str = "predict"
    parameters: dict[str, Any] = field(default_factory=dict)
    until_part: str | None = None
    on_report: Callable[[ReportLine], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)
    lines: list[ReportLine] = field(default_factory=list)

    def run(self) -> int:
        """The exit code."""
        output = self.folder / "output"
        parts = output / "predictions"
        parts.mkdir(parents=True, exist_ok=True)
        spec = BatchPredictSpec.model_validate(
            {
                "kind": "batch_predict",
                "model": "model_1",
                "dataset": DATASET_ID,
                "operation": self.operation,
                "parameters": self.parameters,
            }
        )
        assignment = PredictionAssignment(
            job_id="job_1",
            attempt=1,
            spec=spec,
            dataset=self.dataset,
            num_records=self.num_records,
            model=self.model,
            parts_dir=parts,
            output_dir=output,
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
    def result(self) -> bytes:
        return (self.folder / "output" / "predictions.jsonl").read_bytes()

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.result.splitlines()]

    @property
    def reported_parts(self) -> list[str]:
        return [line.name for line in self.lines if isinstance(line, ArtifactLine) and "/" in line.name]
