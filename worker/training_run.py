"""One attempt of one job: train, ask a model or judge one, and tell how it ended."""

import sys
import threading
import traceback
from collections.abc import Callable

import torch._dynamo  # noqa: F401  the first step of an optimizer imports it: 1.2 s that a waiting process can spare

from app.contract.messages import (
    EXIT_FAILED,
    EXIT_STOPPED,
    AnyAssignment,
    Assignment,
    EvaluationAssignment,
    FailedLine,
    FinishedLine,
    LogLine,
    PredictionAssignment,
    ReportLine,
    ResolvedLine,
    ResultLine,
)
from worker.batch_prediction.run import predict
from worker.evaluation.run import evaluate
from worker.methods import BUILDERS
from worker.training.checkpoints import environment
from worker.training.failures import job_error
from worker.training.resolution import resolve
from worker.training.seed import seed_preparation
from worker.training.trainer import Trainer


def run_assignment(
    assignment: AnyAssignment,
    report: Callable[[ReportLine], None],
    *,
    stop: threading.Event,
    on_training: Callable[[], None] = lambda: None,
) -> int:
    """Run to the end, to a failure or to `stop` -> the exit code. `on_training`: from now on `stop` is obeyed."""
    try:
        finished = _done(assignment, report, stop, on_training)
    except Exception as error:  # noqa: BLE001  the edge: whatever it was, the job's last line tells it
        traceback.print_exception(error, file=sys.stderr)
        report(FailedLine(error=job_error(error)))
        return EXIT_FAILED
    if finished is None:
        return EXIT_STOPPED
    report(finished)
    return 0


def _done(
    assignment: AnyAssignment,
    report: Callable[[ReportLine], None],
    stop: threading.Event,
    on_training: Callable[[], None],
) -> ResultLine | None:
    match assignment:
        case PredictionAssignment():
            return predict(assignment, report, stop=stop, on_training=on_training)
        case EvaluationAssignment():
            return evaluate(assignment, report, stop=stop, on_training=on_training)
        case Assignment():
            return _train(assignment, report, stop, on_training)


def _train(
    assignment: Assignment,
    report: Callable[[ReportLine], None],
    stop: threading.Event,
    on_training: Callable[[], None],
) -> FinishedLine | None:
    spec = assignment.spec
    seed_preparation(spec.training.seed)
    method = BUILDERS[spec.kind, spec.method.type](assignment, lambda message: report(LogLine(message=message)))
    resolved = assignment.resolved or resolve(spec, method)
    report(ResolvedLine(resolved=resolved, environment=environment(resolved.device)))
    trainer = Trainer(method, spec.training, resolved, output_dir=assignment.output_dir, report=report, stop=stop)
    on_training()
    return trainer.run(assignment.resume_from)
