"""One attempt of one job: train, ask a model or judge one, and tell how it ended."""

import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial

import torch._dynamo  # noqa: F401  the first step of an optimizer imports it: 1.2 s that a waiting process can spare

from app.contract.auto import as_decided, is_decided, searched_fields, settled, with_options, with_values
from app.contract.messages import (
    EXIT_FAILED,
    EXIT_STOPPED,
    AnyAssignment,
    Assignment,
    EvaluationAssignment,
    FailedLine,
    FinishedLine,
    LogLine,
    PausedLine,
    PredictionAssignment,
    ReportLine,
    ResolvedLine,
    ResultLine,
)
from app.contract.specs.training import TrainingOptions
from worker.batch_prediction.run import predict
from worker.evaluation.run import evaluate
from worker.methods import BUILDERS
from worker.models.body import Body
from worker.training.auto.decision import decide
from worker.training.checkpoints import environment
from worker.training.failures import job_error
from worker.training.protocols import Log, Method
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
) -> ResultLine | PausedLine | None:
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
) -> FinishedLine | PausedLine | None:
    spec, build = assignment.spec, partial(_built, assignment)
    options = settled(spec, assignment.resolved)

    def log(message: str) -> None:
        report(LogLine(message=message))

    def before_trials(message: str) -> None:
        """What they may still change is not told."""
        if not searched_fields(spec.training):
            log(message)

    method = build(options, log)
    resolved = assignment.resolved or resolve(with_options(spec, options), method, before_trials)
    report(ResolvedLine(resolved=resolved, environment=environment(resolved.device)))
    on_training()
    if not is_decided(spec.training, resolved):
        del method  # its memory is for the trials
        values = decide(assignment, build, resolved, report, stop)
        if values is None:
            return None
        options = with_values(options, *values)
        method = build(options)
        resolved = as_decided(resolve(with_options(spec, options), method, log), spec.training, options)
        report(ResolvedLine(resolved=resolved, environment=environment(resolved.device)))
    trainer = Trainer(
        method,
        options,
        resolved,
        output_dir=assignment.output_dir,
        report=report,
        stop=stop,
        pause_step=resolved.pause_step(assignment.pause_at),
    )
    return trainer.run(assignment.resume_from)


def _built(assignment: Assignment, options: TrainingOptions, log: Log = lambda _: None) -> Method:
    """With these options, as if nothing had been drawn before."""
    spec = with_options(assignment.spec, options)
    seed_preparation(options.seed)
    method = BUILDERS[spec.kind, spec.method.type](assignment.model_copy(update={"spec": spec}), log)
    if options.activation_checkpointing:
        body = method.module.body
        assert isinstance(body, Body)
        body.recompute_activations()
    return method
