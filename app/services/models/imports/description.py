"""What an uploaded folder says that its model is: from config.json, and from pretune.json where we wrote the folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from app.contract import sizes
from app.contract.compatibility import METHOD_TRAITS, MethodKey
from app.contract.model_folder import (
    CONFIG_NAME,
    DESCRIPTION_NAME,
    OUR_MODEL_TYPE,
    BodyDescription,
    Label,
    ModelDescription,
    Pooling,
    label_key,
)
from app.contract.specs.architectures import TransformerArchitecture
from app.contract.tensors import stock_pooling
from app.records.problems import shown
from app.services.models.imports.configs import (
    BertConfig,
    Gpt2Config,
    LlamaConfig,
    ModernBertConfig,
    StockConfig,
    read_body,
)
from app.services.models.imports.folder import MAX_JSON_BYTES, UploadedFolder
from app.services.models.imports.problems import refused

Pretraining = Literal["causal_language_model", "masked_language_model"]
Task = Pretraining | Literal["body", "classification", "sequence_labeling"]


class Family(NamedTuple):
    """`tasks`: what its classes are for. `method`: what a body of it was pretrained by."""

    config: type[StockConfig]
    method: Pretraining
    tasks: Mapping[str, Task]


def _family(stem: str, config: type[StockConfig], method: Pretraining, *pretrained: str) -> Family:
    tasks: dict[str, Task] = {
        **dict.fromkeys(pretrained, method),
        f"{stem}Model": "body",
        f"{stem}ForSequenceClassification": "classification",
        f"{stem}ForTokenClassification": "sequence_labeling",
    }
    return Family(config, method, tasks)


CAUSAL: Pretraining = "causal_language_model"
MASKED: Pretraining = "masked_language_model"
FAMILIES: dict[str, Family] = {
    "llama": _family("Llama", LlamaConfig, CAUSAL, "LlamaForCausalLM"),
    "gpt2": _family("GPT2", Gpt2Config, CAUSAL, "GPT2LMHeadModel"),
    "bert": _family("Bert", BertConfig, MASKED, "BertForMaskedLM", "BertForPreTraining"),
    "modernbert": _family("ModernBert", ModernBertConfig, MASKED, "ModernBertForMaskedLM"),
}


@dataclass(frozen=True, slots=True)
class Described:
    """`config` is what config.json says beside the shape."""

    description: ModelDescription
    config: StockConfig


def described(folder: UploadedFolder) -> Described:
    """Raises InvalidRequest where the folder says what is not supported, or contradicts itself."""
    content = folder.json(CONFIG_NAME)
    family = _family_of(content)
    task = _task_of(content, family)
    config, body = read_body(family.config, content)
    stock = _description(family, task, config, body)
    return Described(_with_ours(folder, stock) if DESCRIPTION_NAME in folder else stock, config)


def _family_of(content: Mapping[str, Any]) -> Family:
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        hint = " It has no stock form: train the model here again." if model_type == OUR_MODEL_TYPE else ""
        raise refused(
            f"{CONFIG_NAME}: model_type", f"{shown(model_type)} is not supported; {', '.join(FAMILIES)} are.{hint}"
        )
    return FAMILIES[model_type]


def _task_of(content: Mapping[str, Any], family: Family) -> Task:
    named = content.get("architectures")
    name = named[0] if isinstance(named, list) and len(named) == 1 else None
    if not isinstance(name, str) or name not in family.tasks:
        raise refused(
            f"{CONFIG_NAME}: architectures",
            f"{shown(named)} is not supported; one of {', '.join(family.tasks)} is.",
        )
    return family.tasks[name]


def _description(family: Family, task: Task, config: StockConfig, body: BodyDescription) -> ModelDescription:
    """A body that tells tokens by its own embeddings lacks nothing of a causal language model."""
    tied = getattr(body.architecture, "tie_embeddings", False)
    headless = task == "body" and not (family.method == CAUSAL and tied)
    if task in ("classification", "sequence_labeling"):
        return _sized(_labeled(task, config, body))
    return _sized(
        ModelDescription(kind="pretrain", method=family.method, body=body, headless=headless, num_parameters=0)
    )


def _labeled(task: str, config: StockConfig, body: BodyDescription) -> ModelDescription:
    if len(config.labels) < 2:
        raise refused(f"{CONFIG_NAME}: id2label", "A head of one output is no classifier; two labels or more are.")
    pooling: Pooling = stock_pooling(body) if task == "classification" else "mean"
    return ModelDescription(
        kind="finetune", method=task, body=body, labels=config.labels, pooling=pooling, num_parameters=0
    )


def _with_ours(folder: UploadedFolder, stock: ModelDescription) -> ModelDescription:
    """What our own file tells beyond config.json: the types of labels, and dropout."""
    try:
        ours = ModelDescription.model_validate_json(folder.read(DESCRIPTION_NAME, MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise refused(f"{DESCRIPTION_NAME}: {field}", f"{first['msg']}.") from None
    if (ours.kind, ours.method) not in METHOD_TRAITS:
        raise refused(f"{DESCRIPTION_NAME}: method", f"There is no method {ours.method!r} of the kind {ours.kind!r}.")
    told, wanted = _plain(ours), _plain(stock)
    if differing := [name for name in told if told[name] != wanted[name]]:
        raise refused(
            f"{DESCRIPTION_NAME}: {', '.join(differing)}", f"It contradicts {CONFIG_NAME}; both must tell one model."
        )
    return ours.model_copy(update={"num_parameters": stock.num_parameters})


def _plain(description: ModelDescription) -> dict[str, Any]:
    """What config.json can tell too, with nothing left open. A kind that continued its parent is that of the parent."""
    shape = description.body.architecture
    settled: dict[str, Any] = {"dropout": 0.0}
    if isinstance(shape, TransformerArchitecture):
        settled |= {"feed_forward_width": shape.inner_width, "num_key_value_heads": shape.key_value_heads}
    body = description.body.model_copy(update={"architecture": shape.model_copy(update=settled)})
    method = CAUSAL if description.method == "instruction_tuning" else description.method
    told = {
        "method": method,
        "body": body,
        "labels": tuple(map(label_key, description.labels or ())),
        "num_parameters": 0,
    }
    fields = description.model_copy(update=told).model_dump(mode="json")
    return {name: value for name, value in fields.items() if name != "kind"}


def _sized(description: ModelDescription) -> ModelDescription:
    method: MethodKey = (description.kind, description.method)
    body, labels = description.body, description.labels
    if description.headless:
        count = sizes.body_parameters(body)
    else:
        count = sizes.num_parameters(method, body, _num_labels(labels), pooling=description.pooling)
    return description.model_copy(update={"num_parameters": count})


def _num_labels(labels: tuple[Label, ...] | None) -> int | None:
    return None if labels is None else len(labels)
