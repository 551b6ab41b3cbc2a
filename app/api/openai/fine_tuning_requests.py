"""What OpenAI's client asks of a fine-tuning job, as a JobSpec. Native fields may stand beside OpenAI's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from app.api.openai.conventions import PREFIX, OpenAIRequest, locations, refused, unsupported
from app.contract.base import PlainText
from app.contract.compatibility import METHOD_TRAITS
from app.contract.errors import NotFound
from app.contract.specs import FinetuneSpec, PretrainSpec
from app.contract.specs.job import STEP_PREFIX
from app.contract.specs.methods import TRAINING_DEFAULTS
from app.contract.specs.training import AdamW
from app.services.refusals import validated

#: OpenAI's; any other `type` is a method of ours.
_SUPERVISED = "supervised"
_OTHER_OPENAI_METHODS = frozenset({"dpo", "reinforcement"})
#: As checkpoints are listed under `fine_tuned_model_checkpoint`.
_CHECKPOINT = re.compile(rf"(?P<job>job_[0-9a-f]{{32}}):(?P<step>{STEP_PREFIX}[0-9]{{1,12}})")


class Hyperparameters(OpenAIRequest):
    """`auto` is the method's own default, as OpenAI's takes no trials either: those begin where `training` says `auto`.
    The learning rate is a multiple of the default."""

    n_epochs: Literal["auto"] | float | None = None
    batch_size: Literal["auto"] | int | None = None
    learning_rate_multiplier: Literal["auto"] | float | None = None


class Supervised(OpenAIRequest):
    hyperparameters: Hyperparameters | None = None


class SupervisedMethod(OpenAIRequest):
    """OpenAI's, which says no more than to learn what the data set teaches."""

    type: Literal["supervised"]
    supervised: Supervised | None = None


class FineTuningRequest(OpenAIRequest):
    """Also takes `kind`, `name`, `checkpoint`, `strategy`, `training`, `resources`, `priority` and `webhook` of
    `POST /v1/jobs`, and its `method`.
    """

    model: PlainText = Field(max_length=200, description="The parent; empty for a pretraining.")
    training_file: PlainText = Field(max_length=64, description="The id of a file, or data set.")
    validation_file: PlainText | None = Field(default=None, max_length=64)
    hyperparameters: Hyperparameters | None = None
    method: dict[str, Any] | None = Field(
        default=None, description="OpenAI's `supervised`, or one of ours. Default: the one that the data teach."
    )
    suffix: PlainText | None = Field(default=None, max_length=200, description="Names the model.")
    seed: int | None = None
    metadata: dict[str, str] | None = None
    kind: Literal["finetune", "pretrain"] = "finetune"
    name: PlainText | None = Field(default=None, max_length=200)
    checkpoint: str | None = None
    strategy: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    priority: int | None = None
    webhook: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AskedSpec:
    """`names`: where the user wrote what stands elsewhere in the spec."""

    spec: PretrainSpec | FinetuneSpec
    names: Mapping[str, str]


def spec_of(body: FineTuningRequest, kind_of_dataset: Callable[[str], str]) -> AskedSpec:
    """Raises InvalidRequest, and Unsupported for methods of OpenAI's that are none of ours."""
    method = _method(body, kind_of_dataset)
    training, places = _training(body, str(method.get("type")))
    names = {"dataset": "training_file", "parent": "model"} | places | _name(body)
    fields = {
        "kind": body.kind,
        "name": body.suffix if body.name is None else body.name,
        "dataset": body.training_file,
        "method": method,
        "training": training,
        "metadata": body.metadata,
        "strategy": body.strategy,
        "resources": body.resources,
        "priority": body.priority,
        "webhook": body.webhook,
    }
    given = {name: value for name, value in (fields | _parent(body)).items() if value is not None}
    with locations(names):
        spec = validated(FinetuneSpec, given) if body.kind == "finetune" else validated(PretrainSpec, given)
    return AskedSpec(spec, names)


def _name(body: FineTuningRequest) -> dict[str, str]:
    """Where the job's name was written."""
    if body.name is not None and body.suffix is not None:
        raise refused("suffix", "suffix and name are both given: leave one out.")
    return {} if body.suffix is None else {"name": "suffix"}


def _parent(body: FineTuningRequest) -> dict[str, str | None]:
    if body.kind == "pretrain":
        if body.model:
            raise refused("model", f"A pretraining starts from no model: give model '', not {body.model!r}.")
        return {"checkpoint": body.checkpoint}
    if found := _CHECKPOINT.fullmatch(body.model):
        return {"parent": found["job"], "checkpoint": body.checkpoint or found["step"]}
    return {"parent": body.model, "checkpoint": body.checkpoint}


def _method(body: FineTuningRequest, kind_of_dataset: Callable[[str], str]) -> dict[str, Any]:
    """OpenAI's `supervised` says no more than to learn what the data set teaches."""
    given = body.method or {"type": _SUPERVISED}
    if given.get("type") in _OTHER_OPENAI_METHODS:
        raise unsupported("method.type", f"The method {given['type']} of OpenAI's is not supported here.")
    if given.get("type") != _SUPERVISED:
        return given
    if body.kind == "pretrain":
        raise refused("method", "method is required for a pretraining: give one of `GET /v1/methods`.")
    return {"type": _taught_by(body.training_file, kind_of_dataset)}


def _taught_by(dataset_id: str, kind_of_dataset: Callable[[str], str]) -> str:
    """The one fine-tuning method whose data are of this kind."""
    try:
        dataset_kind = kind_of_dataset(dataset_id)
    except NotFound as error:
        raise refused("training_file", f"{error.detail} Upload one to {PREFIX}/files.") from None
    methods = {
        method: traits.dataset_kinds.values() for (kind, method), traits in METHOD_TRAITS.items() if kind == "finetune"
    }
    fitting = [method for method, kinds in methods.items() if dataset_kind in kinds]
    if len(fitting) != 1:
        told = " and ".join(sorted(fitting)) or "no fine-tuning method"
        raise refused(
            "method", f"The file {dataset_id} is of kind {dataset_kind}, which teaches {told}: name one in `method`."
        )
    return fitting[0]


def _training(body: FineTuningRequest, method: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Native options and those that OpenAI's fields stand for; and where each of the latter was written."""
    hyperparameters, at = _hyperparameters(body)
    rate = default_rate(body.kind, method)
    wanted = [
        ("duration", "epochs", f"{at}.n_epochs", _number(hyperparameters.n_epochs)),
        ("batch_size", None, f"{at}.batch_size", _number(hyperparameters.batch_size)),
        (
            "optimizer",
            "learning_rate",
            f"{at}.learning_rate_multiplier",
            None if (factor := _number(hyperparameters.learning_rate_multiplier)) is None else factor * rate,
        ),
        ("seed", None, "seed", body.seed),
        ("validation_dataset", None, "validation_file", body.validation_file),
    ]
    training, places = dict(body.training or {}), {}
    for option, unit, place, value in wanted:
        if value is None:
            continue
        if option in training:
            raise refused(place, f"{place} and training.{option} are both given: leave one out.")
        training[option] = {unit: value} if unit else value
        places[f"training.{option}" + (f".{unit}" if unit else "")] = place
    return training, places


def _hyperparameters(body: FineTuningRequest) -> tuple[Hyperparameters, str]:
    """Those of `method.supervised`, where the client puts them now, or the older ones at the top; and their place."""
    at = "hyperparameters"
    nested = _supervised(body).hyperparameters
    if nested is None:
        return body.hyperparameters or Hyperparameters(), at
    if body.hyperparameters is not None:
        raise refused(at, f"{at} and method.{_SUPERVISED}.{at} are both given: leave one out.")
    return nested, f"method.{_SUPERVISED}.{at}"


def _supervised(body: FineTuningRequest) -> Supervised:
    if body.method is None or body.method.get("type") != _SUPERVISED:
        return Supervised()
    with locations({"": "method"}):
        method = validated(SupervisedMethod, body.method)
    method.refuse_unknown("method.")
    return method.supervised or Supervised()


def _number(value: float | Literal["auto"] | None) -> float | None:
    return None if value == "auto" else value


def default_rate(kind: str, method: str) -> float:
    """What a `learning_rate_multiplier` of 1 stands for."""
    optimizer = TRAINING_DEFAULTS.get((kind, method), {}).get("optimizer", {})
    return float(optimizer.get("learning_rate", AdamW().decided_rate))
