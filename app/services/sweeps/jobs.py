"""The jobs that a sweep consists of: its template with a trial's values, and at the end with the best ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from app.contract.specs.job import FinetuneSpec, PretrainSpec
from app.contract.specs.sweep import SweepSpec
from app.contract.specs.training import Duration
from app.services.refusals import validated
from app.services.sweeps.search import Json, Parameters, with_values

#: Of a trial's checkpoints: the newest, and besides the best.
KEPT_CHECKPOINTS = 1


@dataclass(frozen=True, slots=True)
class Template:
    """`given` is the job as the user gave it, `filled` the same with every default."""

    given: Json
    filled: Json
    spec: SweepSpec

    @property
    def name(self) -> str:
        return self.spec.name or self.given.get("name") or "sweep"

    def trial(self, number: int, parameters: Parameters, fold: int) -> PretrainSpec | FinetuneSpec:
        """One job of a trial. Raises InvalidRequest."""
        count = self.spec.folds
        values: Json = {**parameters, "training.keep_checkpoints": KEPT_CHECKPOINTS}
        name = f"{self.name}: trial {number}"
        if count is not None:
            values["training.validation_fold"] = {"count": count, "index": fold, "group": self.spec.group}
            name = f"{name}, fold {fold + 1} of {count}"
        return self._job(name, values)

    def alone(self, parameters: Parameters) -> PretrainSpec | FinetuneSpec:
        """A job with a trial's values that is no part of the sweep. Raises InvalidRequest."""
        return self._job(self.name, parameters)

    def final(self, parameters: Parameters, results: Sequence[Mapping[str, Any]]) -> PretrainSpec | FinetuneSpec:
        """Of all data; as long as the best trial, whose `results` by fold these are, went until it was best."""
        duration = self._job(self.name, parameters).training.duration
        values: Json = {
            **parameters,
            "training.duration": _shortened(duration, results),
            "training.validation_fraction": 0.0,
            "training.validation_fold": None,
            "training.early_stopping": None,
        }
        return self._job(self.name, values)

    def _job(self, name: str, values: Json | Parameters) -> PretrainSpec | FinetuneSpec:
        data = with_values(self.given, self.filled, values) | {"name": name[:200]}
        return validated(PretrainSpec, data) if data["kind"] == "pretrain" else validated(FinetuneSpec, data)


def _shortened(duration: Duration | Literal["auto"], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """In its own unit, as a mean over the folds: as many passes over all data as there were over a part."""
    if duration == "auto":
        return {"steps": max(1, round(fmean(result["best_step"] for result in results)))}
    fraction = fmean(result["best_step"] / result["total_steps"] for result in results)
    if duration.epochs is not None:
        return {"epochs": duration.epochs * fraction}
    unit = "steps" if duration.steps is not None else "tokens"
    return {unit: max(1, round(getattr(duration, unit) * fraction))}
