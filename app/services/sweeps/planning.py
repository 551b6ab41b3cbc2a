"""Whether a sweep can run: checked on jobs that stand for all its trials, as if each were asked for now. Writes
nothing."""

import json
import re
from collections.abc import Callable
from itertools import permutations

from sqlalchemy.orm import Session

from app.contract.compatibility import metrics_of
from app.contract.errors import ErrorCode, FieldError, InvalidRequest
from app.contract.specs.job import FinetuneSpec
from app.contract.specs.sweep import MAX_JOBS, MAX_TRIALS, SweepSpec
from app.db import models
from app.services.jobs.parents import JOB_ID_PATTERN
from app.services.jobs.planning import plan
from app.services.models.aliases import check_alias
from app.services.sweeps.jobs import Template
from app.services.sweeps.search import Json, Parameters, corners, num_trials, refused
from app.settings import Settings

#: Jobs that are planned to see whether all trials will be accepted: some milliseconds each.
MAX_CORNERS = 64
ROOMS = ("method", "training", "strategy", "parent", "checkpoint")
#: What a trial is judged by has to be the same for all.
FIXED = ("training.validation_fraction", "training.validation_fold", "training.validation_dataset", "training.seed")
SHOWN_CHARACTERS = 60


def plan_sweep(session: Session, project_id: str, spec: SweepSpec, settings: Settings) -> Json:
    """The template of its jobs, whose parent is pinned where it is a model. Raises InvalidRequest, naming the path, the
    value and the remedy."""
    _check_paths(spec)
    _check_numbers(spec)
    _check_validation(spec)
    _check_metric(spec)
    finalize = spec.finalized
    if finalize is not None and finalize.alias is not None:
        check_alias(finalize.alias)
    _plan_template(session, project_id, spec, settings)
    given = spec.job.model_dump(mode="json", exclude_unset=True) | _pinned(session, project_id, spec)
    template = Template(given, spec.job.model_dump(mode="json"), spec)
    for values in corners(spec.search, MAX_CORNERS):
        _check_trial(session, project_id, template, values, settings)
    return given


def _check_paths(spec: SweepSpec) -> None:
    for path in spec.search:
        if path.split(".")[0] not in ROOMS:
            raise refused(path, f"{path} is nothing to search over. Paths begin with {', '.join(ROOMS)}.")
        if any(path == fixed or path.startswith(f"{fixed}.") for fixed in FIXED):
            raise refused(
                path, f"{path} decides what a trial is judged by, which has to be the same for all: set it in the job."
            )
    for outer, inner in permutations(spec.search, 2):
        if inner.startswith(f"{outer}."):
            raise refused(inner, f"{inner} is a field of {outer}, which is searched too: leave one of them out.")


def _check_numbers(spec: SweepSpec) -> None:
    trials, folds = num_trials(spec), spec.folds or 1
    if trials > MAX_TRIALS:
        raise _wrong(f"The grid has {trials:,} points, and a sweep {MAX_TRIALS:,} trials. Give fewer points.", "trials")
    if trials * folds > MAX_JOBS:
        raise _wrong(
            f"{trials:,} trials of {folds} folds are {trials * folds:,} jobs; a sweep has at most {MAX_JOBS:,}. Give "
            "fewer of either.",
            "trials",
        )


def _check_validation(spec: SweepSpec) -> None:
    training = spec.job.training
    if spec.job.webhook is not None:
        raise _wrong(
            "A sweep's jobs have no webhook of their own. Leave job.webhook out, and let one of the project be told of "
            "sweep.succeeded.",
            "job.webhook",
        )
    if spec.folds is not None and training.validation_dataset is not None:
        raise _wrong(
            f"folds is {spec.folds}, and job.training.validation_dataset validates already: leave one of them out.",
            "folds",
        )
    if training.validation_fold is not None and spec.folds is not None:
        raise _wrong(
            f"folds is {spec.folds}, and job.training.validation_fold names one: leave one of them out.", "folds"
        )
    if spec.folds is None and training.validation_dataset is None and training.held_back == 0:
        raise _wrong(
            "job.training.validation_fraction is 0, so nothing tells one trial from another. Give a fraction above 0, "
            "a validation_dataset, or folds.",
            "job.training.validation_fraction",
        )


def _check_metric(spec: SweepSpec) -> None:
    metric, method = spec.objective.metric, (spec.job.kind, spec.job.method.type)
    if metric not in (known := metrics_of(method)) and not spec.search.keys() & {"method", "method.type"}:
        raise _wrong(f"{method[1]} measures no {metric!r}. Give one of {', '.join(known)}.", "objective.metric")


def _plan_template(session: Session, project_id: str, spec: SweepSpec, settings: Settings) -> None:
    try:
        plan(session, project_id, spec.job, settings)
    except InvalidRequest as error:
        raise _located(error, lambda location: f"job.{location}") from None


def _pinned(session: Session, project_id: str, spec: SweepSpec) -> Json:
    """An alias may move while the sweep runs."""
    if not isinstance(spec.job, FinetuneSpec) or re.fullmatch(JOB_ID_PATTERN, spec.job.parent):
        return {}
    model = models.resolve(session, project_id, spec.job.parent)
    return {} if model is None else {"parent": model.id}


def _check_trial(session: Session, project_id: str, template: Template, values: Parameters, settings: Settings) -> None:
    try:
        for fold in {0, (template.spec.folds or 1) - 1}:
            plan(session, project_id, template.trial(0, values, fold), settings)
    except InvalidRequest as error:
        if error.errors[0].location.startswith("search."):
            raise
        raise _blamed(error, values) from None


def _blamed(error: InvalidRequest, values: Parameters) -> InvalidRequest:
    """The same at the path whose value is refused, or where no single one is, at all of them."""
    location = error.errors[0].location
    if location.startswith("training.validation_fold"):
        field = "group" if location.endswith("group") else "folds"
        return _located(error, lambda _: field)
    one = _culprit(location, values)
    told = " and ".join(f"{path} {_shown(values[path])}" for path in ([one] if one else values))
    message = f"With {told}: {error.errors[0].message}"
    at = f"search.{one}" if one else "search"
    return InvalidRequest(message, code=error.code, errors=[FieldError(location=at, message=message)])


def _culprit(location: str, values: Parameters) -> str | None:
    """The path whose value is refused, where a single one is."""
    within = [path for path in values if f"{location}.".startswith(f"{path}.")]
    beyond = [path for path in values if path.startswith(f"{location}.")]
    for paths in (within, beyond, [*values]):
        if paths:
            return paths[0] if len(paths) == 1 else None
    return None


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


def _located(error: InvalidRequest, place: Callable[[str], str]) -> InvalidRequest:
    errors = [FieldError(location=place(each.location), message=each.message) for each in error.errors]
    return InvalidRequest(error.detail, code=error.code, errors=errors)


def _wrong(message: str, location: str, code: ErrorCode = ErrorCode.VALIDATION_FAILED) -> InvalidRequest:
    return InvalidRequest(message, code=code, errors=[FieldError(location=location, message=message)])
