"""Models of the forms that only an import brings, with random weights, and what is fine-tuned from them."""

from pathlib import Path
from typing import Any

import torch

from app.contract.messages import Assignment
from app.contract.model_folder import BodyDescription, ModelDescription
from app.contract.specs.architectures import BertArchitecture, Gpt2Architecture, TransformerArchitecture
from app.contract.specs.tokenizers import BpeTokenizer
from tests.contract import datasets
from tests.contract.assignments import finetuning_of
from tests.contract.language_model import manual, text_dataset
from worker.data.tokenizers import learn_tokenizer, with_mask
from worker.export import export_model
from worker.methods.pretrain.text_stream import text_body
from worker.models.building import build_module

SHAPE: dict[str, Any] = {"num_layers": 2, "width": 32, "num_heads": 4, "context_length": 32, "dropout": 0.1}
TRANSFORMER = TransformerArchitecture(**SHAPE)
LEARNED_POSITIONS = SHAPE | {"feed_forward_width": 40, "activation": "gelu", "norm_epsilon": 1e-6}
GPT2 = Gpt2Architecture(**LEARNED_POSITIONS, tie_embeddings=True)
BERT = BertArchitecture(**LEARNED_POSITIONS, num_token_types=2)
TOKENIZER = learn_tokenizer([manual(5_000)], BpeTokenizer(vocab_size=280))


def body(architecture: Any, *, bidirectional: bool = False) -> BodyDescription:
    tokenizer = with_mask(TOKENIZER) if bidirectional else TOKENIZER
    return text_body(architecture, tokenizer, bidirectional=bidirectional)


def exported(folder: Path, body: BodyDescription, **described: Any) -> ModelDescription:
    """With random weights, as small as those of a model that can learn."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    description = ModelDescription.model_validate({"body": body, "num_parameters": 0} | described)
    module = build_module(description)
    for parameter in module.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.1)
    count = sum(parameter.numel() for parameter in module.parameters())
    description = description.model_copy(update={"num_parameters": count})
    export_model(folder, module, description, with_mask(TOKENIZER) if body.bidirectional else TOKENIZER)
    return description


def language_model(folder: Path) -> Path:
    """A GPT-2 as anybody could have written it."""
    exported(folder, body(GPT2), kind="pretrain", method="causal_language_model")
    (folder / "pretune.json").unlink()
    return folder


def classified(folder: Path, body: BodyDescription, strategy: dict[str, Any] | None = None) -> Assignment:
    parent, method = _parent(folder, body), {"type": "classification"}
    return finetuning_of(parent, folder, datasets.labeled_text(folder), method, strategy=strategy)


def continued(folder: Path, body: BodyDescription, strategy: dict[str, Any] | None = None) -> Assignment:
    method = {"type": "masked_language_model" if body.bidirectional else "causal_language_model"}
    return finetuning_of(_parent(folder, body), folder, text_dataset(folder, manual()), method, strategy=strategy)


def _parent(folder: Path, body: BodyDescription) -> Path:
    method = "masked_language_model" if body.bidirectional else "causal_language_model"
    exported(folder / "parent_model", body, kind="pretrain", method=method)
    return folder / "parent_model"
