"""One attempt of an evaluation: takes up what earlier ones have judged, judges the rest, and reports on all of it."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from app.contract.errors import ErrorCode, InvalidRequest
from app.contract.evaluations import REPORT_MEDIA_TYPE, REPORT_NAME, UNITS_MEDIA_TYPE, UNITS_NAME, EvaluationReport
from app.contract.messages import ArtifactLine, EvaluatedLine, EvaluationAssignment, LogLine, MetricsLine
from app.contract.parts import PartsFolder, part_name
from app.evaluation.reporting import report_of
from app.evaluation.units import UNIT, Units, joined, read_units, write_units
from worker.evaluation.examples import AnswerScorer, AutoencoderScorer, ClassificationScorer, RegressionScorer
from worker.evaluation.scorer import Scorer
from worker.evaluation.tags import RoleScorer, SequenceLabelingScorer
from worker.evaluation.text import LanguageModelScorer, MaskedLanguageModelScorer, WordVectorsScorer
from worker.export import LoadedModel, load_model
from worker.pace import SILENCE_SECONDS, Pace, Report, Stopped
from worker.training.protocols import Log

#: A part has at least so many batches, unless it is the last; so many parts at most.
PART_BATCHES = 8
MAX_PARTS = 1_000

Build = Callable[[LoadedModel, EvaluationAssignment, Log], Scorer]


def _language_model(loaded: LoadedModel, assignment: EvaluationAssignment, log: Log) -> Scorer:
    """Text is judged whole; of conversations what the assistant says."""
    build: Build = AnswerScorer if assignment.dataset.kind == "instructions" else LanguageModelScorer
    return build(loaded, assignment, log)


SCORERS: Mapping[str, Build] = {
    "classification": ClassificationScorer,
    "regression": RegressionScorer,
    "sequence_labeling": SequenceLabelingScorer,
    "semantic_role_labeling": RoleScorer,
    "causal_language_model": _language_model,
    "instruction_tuning": _language_model,
    "masked_language_model": MaskedLanguageModelScorer,
    "word2vec": WordVectorsScorer,
    "autoencoder": AutoencoderScorer,
}


def evaluate(
    assignment: EvaluationAssignment, report: Report, *, stop: threading.Event, on_training: Callable[[], None]
) -> EvaluatedLine | None:
    """Judge all units -> the last line; None where `stop` ended it first. `on_training`: from now on `stop` is obeyed.
    Raises BadData where the data do not judge this model, and InvalidRequest where it answers with no numbers."""
    loaded = load_model(assignment.model)
    method = loaded.description.method
    scorer = SCORERS[method](loaded, assignment, lambda message: report(LogLine(message=message)))
    on_training()
    try:
        units = _Run(assignment, scorer, report, stop).units()
    except Stopped:
        return None
    found = report_of(
        units,
        method=method,
        unit=scorer.unit,
        labels=scorer.labels,
        seed=assignment.spec.seed,
        resamples=assignment.spec.resamples,
    )
    _leave(found, units, assignment.output_dir, report)
    values = {name: measure.value for name, measure in found.measures.items()}
    report(MetricsLine(step=assignment.num_records, values=values))
    return EvaluatedLine(num_records=assignment.num_records, report=found)


def _leave(found: EvaluationReport, units: Units, folder: Path, report: Report) -> None:
    path = folder / REPORT_NAME
    path.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    report(ArtifactLine(name=REPORT_NAME, path=path, media_type=REPORT_MEDIA_TYPE))
    report(ArtifactLine(name=UNITS_NAME, path=write_units(folder / UNITS_NAME, units), media_type=UNITS_MEDIA_TYPE))


class _Run:
    def __init__(self, assignment: EvaluationAssignment, scorer: Scorer, report: Report, stop: threading.Event) -> None:
        self._assignment = assignment
        self._scorer = scorer
        self._report = report
        self._stop = stop
        self._pace = Pace()

    def units(self) -> Units:
        """What all of them add, a row each. Raises Stopped."""
        num_batches = self._scorer.num_batches
        size = max(PART_BATCHES, -(-num_batches // MAX_PARTS))
        parts = []
        for first in range(0, num_batches, size):
            batches = range(first, min(first + size, num_batches))
            parts.append(self._kept(first) or self._made(batches))
        return joined(parts, self._scorer.num_units)

    def _kept(self, first: int) -> Units | None:
        """The part that an earlier attempt made."""
        path = self._path(first)
        return read_units(path) if path.exists() else None

    def _made(self, batches: range) -> Units:
        self._pace.begin(self._records_before(batches.start))
        scored = [self._scored(number) for number in batches]
        part = {name: np.concatenate([each[name] for each in scored]) for name in scored[0]}
        path = write_units(self._path(batches.start), part)
        name = part_name(PartsFolder.UNITS, batches.start)
        self._report(ArtifactLine(name=name, path=path, media_type=UNITS_MEDIA_TYPE))
        self._tell(batches.stop)
        return part

    def _scored(self, number: int) -> Units:
        if self._stop.is_set():
            raise Stopped
        with torch.inference_mode():
            units = self._scorer.score(number)
        _check_finite(units)
        if self._pace.silent_seconds > SILENCE_SECONDS:
            self._tell(number + 1)
        return units

    def _tell(self, num_batches: int) -> None:
        done = self._records_before(num_batches)
        self._report(MetricsLine(step=done, values={}, examples_per_second=self._pace.since_last(done)))

    def _records_before(self, batch: int) -> int:
        """As if all batches held as many."""
        return self._assignment.num_records * batch // self._scorer.num_batches

    def _path(self, first: int) -> Path:
        return self._assignment.parts_dir / Path(part_name(PartsFolder.UNITS, first)).name


def _check_finite(units: Units) -> None:
    for name, values in units.items():
        broken = ~np.isfinite(values.reshape(len(values), -1)).all(1)
        if broken.any():
            raise InvalidRequest(
                f"The model answers with numbers that are not finite: the {name.replace('_', ' ')} of "
                f"{int(broken.sum())} of the units judged together, the first of them number {units[UNIT][broken][0]}. "
                "Its weights are damaged, or it was never trained in these units.",
                code=ErrorCode.INVALID_MODEL,
            )
