"""Small real models with random weights, written by the code that training writes them with."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription
from app.contract.specs.architectures import (
    ConvArchitecture,
    MlpArchitecture,
    SkipgramArchitecture,
    TransformerArchitecture,
)
from app.contract.specs.tokenizers import BpeTokenizer
from worker.data.chat import template_for
from worker.data.tokenizers import learn_tokenizer, learn_words, with_mask
from worker.export import export_model
from worker.models.building import build_module
from worker.models.standardization import Standardization

TEXT = "the quick brown fox jumps over the lazy dog and naïve Zoë counts 東京 twice. " * 8
CONTEXT_LENGTH = 32
NUM_FEATURES = 4
IMAGE_SHAPE = (1, 6, 5)

TEXT_BODY: dict[str, Any] = {
    "architecture": TransformerArchitecture(num_layers=2, width=32, num_heads=4, context_length=CONTEXT_LENGTH),
    "input": InputKind.TEXT,
    "granularity": Granularity.TOKENS,
}
WORD_BODY: dict[str, Any] = {
    "architecture": SkipgramArchitecture(width=12, context_length=CONTEXT_LENGTH),
    "input": InputKind.TEXT,
    "granularity": Granularity.TOKENS,
}
FEATURE_BODY: dict[str, Any] = {
    "architecture": MlpArchitecture(hidden_widths=(8,)),
    "input": InputKind.FEATURES,
    "granularity": Granularity.EXAMPLE,
    "input_shape": (NUM_FEATURES,),
}
IMAGE_BODY: dict[str, Any] = {
    "architecture": ConvArchitecture(channels=(4,)),
    "input": InputKind.IMAGE,
    "granularity": Granularity.EXAMPLE,
    "input_shape": IMAGE_SHAPE,
    "code_size": 3,
}


def write_model(folder: Path, kind: str, method: str, body: dict[str, Any], seed: int = 0, **description: Any) -> Path:
    """Weights are large, so that answers differ from input to input; buffers look as if they had seen data."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(body) if body["input"] is InputKind.TEXT else None
    vocab_size = tokenizer.get_vocab_size() if tokenizer else None
    described = ModelDescription.model_validate(
        {
            "kind": kind,
            "method": method,
            "body": BodyDescription(vocab_size=vocab_size, **body),
            "num_parameters": 1,
            **description,
        }
    )
    module = build_module(described)
    _spread(module)
    template = template_for(tokenizer) if tokenizer and method == "instruction_tuning" else None
    export_model(folder, module, described, tokenizer, template)
    return folder


def _tokenizer(body: dict[str, Any]) -> Tokenizer:
    if isinstance(body["architecture"], SkipgramArchitecture):
        return learn_words([TEXT], 100, min_count=1, lowercase=True)
    tokenizer = learn_tokenizer([TEXT], BpeTokenizer(vocab_size=320))
    return with_mask(tokenizer) if body.get("bidirectional") else tokenizer


def _spread(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(6.0 if parameter.dim() == 2 and parameter.shape[0] > 64 else 2.0)
        for part in module.modules():
            if isinstance(part, Standardization):
                part.mean.fill_(1.5)
                part.std.fill_(2.0)


def language_model(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "causal_language_model", TEXT_BODY, seed)


def instruction_model(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "finetune", "instruction_tuning", TEXT_BODY, seed)


def masked_language_model(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "masked_language_model", TEXT_BODY | {"bidirectional": True}, seed)


def word_vectors(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "word2vec", WORD_BODY, seed)


def text_classifier(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "finetune", "classification", TEXT_BODY, seed, labels=("neg", "pos"))


def tagger(folder: Path, seed: int = 0) -> Path:
    tags = ("B-ANIMAL", "I-ANIMAL", "O")
    return write_model(folder, "finetune", "sequence_labeling", TEXT_BODY | {"bidirectional": True}, seed, labels=tags)


def role_labeler(folder: Path, seed: int = 0) -> Path:
    roles = ("B-A0", "B-A1", "B-V", "I-A1", "O")
    body = TEXT_BODY | {"bidirectional": True}
    return write_model(folder, "finetune", "semantic_role_labeling", body, seed, labels=roles)


def feature_classifier(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "finetune", "classification", FEATURE_BODY, seed, labels=(3, 5, 8))


def image_classifier(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "finetune", "classification", IMAGE_BODY, seed, labels=(True, False))


def feature_regressor(folder: Path, seed: int = 0, target_size: int = 1) -> Path:
    return write_model(folder, "pretrain", "regression", FEATURE_BODY, seed, target_size=target_size)


def text_regressor(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "finetune", "regression", TEXT_BODY, seed, target_size=1)


def feature_autoencoder(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "autoencoder", FEATURE_BODY | {"code_size": 2}, seed)


def feature_gan(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "gan", FEATURE_BODY | {"code_size": 2}, seed)


def image_gan(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "gan", IMAGE_BODY, seed)


def image_autoencoder(folder: Path, seed: int = 0) -> Path:
    return write_model(folder, "pretrain", "autoencoder", IMAGE_BODY, seed)
