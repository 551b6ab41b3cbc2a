"""One attempt of a batch prediction: takes up what earlier ones have answered, and asks the model for the rest."""

import threading
from collections.abc import Callable, Iterator
from itertools import islice

from app.contract.messages import ArtifactLine, MetricsLine, PredictedLine, PredictionAssignment
from app.contract.parts import PartsFolder, part_name
from app.contract.predictions import MEDIA_TYPE, PREDICTIONS_NAME
from worker.batch_prediction.answers import Answers, answers_of
from worker.batch_prediction.parts import Parts
from worker.batch_prediction.records import Record, records_of
from worker.data.failures import BadData
from worker.pace import SILENCE_SECONDS, Pace, Report, Stopped
from worker.serving.predictors import load_predictor

#: A part has at least so many bytes of inputs or so many records, unless it is the last.
PART_BYTES = 8 << 20
MAX_PARTS = 1_000


def predict(
    assignment: PredictionAssignment, report: Report, *, stop: threading.Event, on_training: Callable[[], None]
) -> PredictedLine | None:
    """Answer all records -> the last line; None where `stop` ended it first. `on_training`: from now on `stop` is
    obeyed. Raises BadData where the model takes none of the records.
    """
    predictor = load_predictor(assignment.model)
    operation = assignment.spec.operation
    assert operation is not None, "filled in when the job was asked for"
    answers = answers_of(predictor, assignment.spec)
    records = records_of(assignment.dataset, operation, predictor.method)
    on_training()
    try:
        return _Run(assignment, answers, report, stop).finish(records)
    except Stopped:
        return None


class _Run:
    def __init__(
        self, assignment: PredictionAssignment, answers: Answers, report: Report, stop: threading.Event
    ) -> None:
        self._assignment = assignment
        self._answers = answers
        self._report = report
        self._stop = stop
        self._parts = Parts(assignment.parts_dir)
        self._pace = Pace()

    def finish(self, records: Iterator[Record]) -> PredictedLine:
        while self._take_kept(records) or self._answer_next(records):
            if self._stop.is_set():
                raise Stopped
        if self._parts.num_errors == self._parts.num_records:
            raise BadData(
                f"The model refuses each of the {self._parts.num_records:,} records. The first: "
                f"{self._parts.first_error()}"
            )
        whole = self._parts.join(self._assignment.output_dir / PREDICTIONS_NAME)
        self._report(ArtifactLine(name=PREDICTIONS_NAME, path=whole, media_type=MEDIA_TYPE))
        return PredictedLine(num_records=self._parts.num_records, num_errors=self._parts.num_errors)

    def _take_kept(self, records: Iterator[Record]) -> bool:
        """Skip the records that are answered already."""
        kept = self._parts.take_next()
        if kept is None:
            return False
        for _ in islice(records, kept.num_records):
            pass
        return True

    def _answer_next(self, records: Iterator[Record]) -> bool:
        """A part, kept and told; False where no record is left."""
        first, inputs = self._parts.num_records, list(self._next_inputs(records))
        if not inputs:
            return False
        self._pace.begin(first)
        part = self._parts.add(self._answers.answer(first, inputs, self._heed))
        self._report(
            ArtifactLine(name=part_name(PartsFolder.PREDICTIONS, first), path=part.path, media_type=MEDIA_TYPE)
        )
        counts = {"records": float(self._parts.num_records), "errors": float(self._parts.num_errors)}
        self._tell(self._parts.num_records, counts)
        return True

    def _next_inputs(self, records: Iterator[Record]) -> Iterator[object]:
        """Those of a part: how many follows from the data alone."""
        most, size_bytes = max(self._answers.num_at_once, self._assignment.num_records // MAX_PARTS), 0
        for record in islice(records, most):
            yield record.input
            size_bytes += record.size_bytes
            if size_bytes >= PART_BYTES:
                return

    def _heed(self, num_answered: int) -> None:
        """Within a part. Raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        if self._pace.silent_seconds > SILENCE_SECONDS:
            self._tell(self._parts.num_records + num_answered, {})

    def _tell(self, num_records: int, values: dict[str, float]) -> None:
        self._report(
            MetricsLine(step=num_records, values=values, examples_per_second=self._pace.since_last(num_records))
        )
