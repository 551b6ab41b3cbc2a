"""Whether a job learned its examples by heart, read off its curves, and what to change. A pure function of them.

Overfitting shows in two ways: the validation loss rises again while the training loss goes on falling, or it stands
still far above the training loss. Remedies such as dropout raise the training loss alone, so a gap tells less than a
rise; and neither matters to the model, which is the best checkpoint, as much as to what could still be won.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Literal, NamedTuple

from app.contract.base import Contract
from app.contract.specs.job import FinetuneSpec, PretrainSpec
from worker.supervisor.remedies import Remedy, advice, in_force, told

TRAIN, VALIDATION = "train_loss", "validation_loss"
#: Of the best validation loss: a smaller rise is taken for chance.
RISE = 0.05
#: Of the validation loss: a training loss lower than by this share knows its examples by heart.
GAP = 0.5

Point = tuple[int, float]
Verdict = Literal["overfits", "does_not_overfit", "still_learning", "not_judged"]


class Evaluation(Contract):
    """`train_loss` is the mean over the steps since the evaluation before; `gap` is what validation has beyond it, null
    where the two are no comparable numbers."""

    step: int
    validation_loss: float
    train_loss: float | None
    gap: float | None


class OverfittingReport(Contract):
    """`overfits` is null where nothing can be said. `curves` are points [step, value], thinned as `GET .../metrics`
    does; `best` is the evaluation of the lowest validation loss, whose checkpoint is the job's model."""

    job_id: str
    verdict: Verdict
    overfits: bool | None
    finding: str
    advice: str
    best: Evaluation | None
    last: Evaluation | None
    evaluations: list[Evaluation]
    remedies: list[Remedy]
    curves: dict[str, list[Point]]


class Judgement(NamedTuple):
    verdict: Verdict
    finding: str
    advice: str


def judged(
    job_id: str, spec: PretrainSpec | FinetuneSpec, dataset_kind: str, curves: Mapping[str, Sequence[Point]]
) -> OverfittingReport:
    """`curves` by name: train_loss, and validation_loss where there was one."""
    train, validation = curves.get(TRAIN, ()), curves.get(VALIDATION, ())
    evaluations = list(_evaluations(train, validation, compares=_compares(spec)))
    best = min(evaluations, key=lambda each: each.validation_loss, default=None)
    judgement = _unjudged(spec, evaluations, best)
    if judgement is None:
        assert best is not None
        judgement = _compared(spec, dataset_kind, evaluations, best)
    return OverfittingReport(
        job_id=job_id,
        verdict=judgement.verdict,
        overfits=None if judgement.verdict == "not_judged" else judgement.verdict == "overfits",
        finding=judgement.finding,
        advice=judgement.advice,
        best=best,
        last=evaluations[-1] if evaluations else None,
        evaluations=evaluations,
        remedies=list(in_force(spec)),
        curves={name: list(points) for name, points in ((TRAIN, train), (VALIDATION, validation)) if points},
    )


def _evaluations(train: Sequence[Point], validation: Sequence[Point], *, compares: bool) -> Iterator[Evaluation]:
    steps = [0, *(step for step, _ in validation)]
    for (before, step), (_, loss) in zip(pairwise(steps), validation, strict=True):
        stretch = [value for at, value in train if before < at <= step]
        mean = fmean(stretch) if stretch else None
        gap = loss - mean if compares and mean is not None else None
        yield Evaluation(step=step, validation_loss=loss, train_loss=mean, gap=gap)


def _unjudged(
    spec: PretrainSpec | FinetuneSpec, evaluations: Sequence[Evaluation], best: Evaluation | None
) -> Judgement | None:
    """What keeps the curves from being judged, if anything does."""
    if best is None:
        finding = "There was no evaluation, so nothing tells what the model makes of examples it has not seen."
        how = "Set training.validation_fraction to 0.1, or name a training.validation_dataset."
        return Judgement("not_judged", finding, how)
    if not _compares(spec):
        finding = (
            "The losses of a game tell who is winning. The Frechet distance to the validation data, which stands for "
            f"the validation loss, was lowest at step {best.step:,}."
        )
        how = "Where it rises in the end, lower training.optimizer.learning_rate, or set training.weight_average."
        return Judgement("not_judged", finding, how)
    if len(evaluations) == 1:
        finding = f"There was one evaluation, at step {best.step:,}: too few to see the loss rise or fall."
        return Judgement("not_judged", finding, "Give a shorter training.evaluate_every.")
    return None


def _compared(
    spec: PretrainSpec | FinetuneSpec, dataset_kind: str, evaluations: Sequence[Evaluation], best: Evaluation
) -> Judgement:
    last = evaluations[-1]
    lowest = f"The validation loss was lowest at step {best.step:,} ({best.validation_loss:.4g})"
    if last.validation_loss - best.validation_loss > RISE * abs(best.validation_loss):
        rose = f"{lowest} and rose to {last.validation_loss:.4g} by step {last.step:,}"
        if _fell_on(best, last):
            finding = f"{rose}, while the training loss fell on."
            return Judgement("overfits", finding, advice(spec, dataset_kind))
        how = "Lower training.optimizer.learning_rate, or let it fall by training.schedule."
        return Judgement("does_not_overfit", f"{rose}, and the training loss did not fall meanwhile.", how)
    if best is last:
        return Judgement("still_learning", f"{lowest}, its end.", "A longer training.duration may lower it further.")
    if _is_far_above(last):
        finding = f"{lowest} and stood still, and the training loss has fallen far below it, to {last.train_loss:.4g}."
        return Judgement("overfits", finding, advice(spec, dataset_kind))
    how = "Nothing asks for a remedy. To go lower, give more data, or try another training.optimizer.learning_rate."
    return Judgement("does_not_overfit", f"{lowest} and has stayed near it since.", how)


def _compares(spec: PretrainSpec | FinetuneSpec) -> bool:
    """Whether training and validation loss measure the same."""
    return spec.method.type != "gan"


def _fell_on(best: Evaluation, last: Evaluation) -> bool:
    """The training loss, behind the best evaluation."""
    return best.train_loss is not None and last.train_loss is not None and last.train_loss < best.train_loss


def _is_far_above(last: Evaluation) -> bool:
    return last.gap is not None and last.gap > GAP * abs(last.validation_loss)


def as_markdown(report: OverfittingReport) -> str:
    """The report for a reader."""
    rows = [
        f"| {name} | {each.step:,} | {_number(each.train_loss)} | {each.validation_loss:.4g} | {_number(each.gap)} |"
        for name, each in (("best", report.best), ("last", report.last))
        if each is not None
    ]
    table = ["| evaluation | step | train loss | validation loss | gap |", "|---|---|---|---|---|", *rows, ""]
    remedies = [f"- `{remedy.field}`: {told(remedy.value)}" for remedy in report.remedies] or ["None."]
    title = f"# Overfitting: {report.verdict.replace('_', ' ')}"
    lines = [title, "", report.finding, "", report.advice, "", *(table if rows else [])]
    return "\n".join([*lines, "## Remedies in force", "", *remedies, ""])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
