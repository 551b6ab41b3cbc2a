"""Decides, once for a job, what the spec leaves to the worker or to the data."""

import math

from app.contract.messages import Resolved
from app.contract.specs import TrainingSpec
from app.contract.specs.training import Duration
from worker.data.failures import BadData
from worker.training.precision import choose_compile, choose_device, choose_precision
from worker.training.protocols import Log, Method, StepSource

EVALUATIONS = 10
#: Forward and backward cost two and four operations for each parameter and token (Kaplan et al. 2020).
FLOPS_PER_PARAMETER = 6


def resolve(spec: TrainingSpec, method: Method, log: Log = lambda _: None) -> Resolved:
    """`log` is told why. Raises BadData where the duration counts tokens and the method does not."""
    options, data = spec.training, method.train_data
    total_steps = steps_of(options.decided_duration, data)
    evaluate_every = _every(options.evaluate_every, data, max(1, math.ceil(total_steps / EVALUATIONS)))
    device = choose_device(spec.resources.device)
    description = method.describe()
    architecture, num_parameters = description.body.architecture.type, description.num_parameters
    chosen = choose_compile(options.compile, device, architecture, _flops(num_parameters, total_steps, data))
    if chosen.reason is not None:
        log(chosen.reason)
    return Resolved(
        device=device,
        precision=choose_precision(options.precision, device, architecture, num_parameters),
        compile=chosen.compile,
        total_steps=total_steps,
        evaluate_every_steps=evaluate_every,
        checkpoint_every_steps=_every(options.checkpoint_every, data, evaluate_every),
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        num_parameters=num_parameters,
        num_trained_parameters=sum(each.numel() for group in method.parameter_groups().values() for each in group),
        num_train_examples=data.num_examples,
        num_validation_examples=method.num_validation_examples,
        tokens_per_step=data.tokens_per_step,
        vocab_size=description.body.vocab_size,
    )


def steps_of(duration: Duration, data: StepSource) -> int:
    """At least one; a part of a step counts as one."""
    if duration.steps is not None:
        return duration.steps
    if duration.epochs is not None:
        return max(1, math.ceil(duration.epochs * data.steps_per_epoch))
    assert duration.tokens is not None, "a duration has exactly one unit"
    if data.tokens_per_step is None:
        raise BadData("A duration in tokens needs a method that reads text; give steps or epochs.")
    return math.ceil(duration.tokens / data.tokens_per_step)


def _every(duration: Duration | None, data: StepSource, default: int) -> int:
    return default if duration is None else steps_of(duration, data)


def _flops(num_parameters: int, total_steps: int, data: StepSource) -> float:
    per_step = data.tokens_per_step or data.num_examples / data.steps_per_epoch
    return FLOPS_PER_PARAMETER * num_parameters * per_step * total_steps
