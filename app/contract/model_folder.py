"""The folder of a finished model, as Hugging Face tools name its files, and our own description beside them.

config.json          stock configuration (or ours, where no stock architecture exists)
model.safetensors    weights; metadata exactly {"format": "pt"}, so equal weights give equal bytes
tokenizer.json       where the model reads text
chat_template.jinja  where it was taught conversations: how they are written as one text
vectors.txt          of word2vec: its words with their vectors, in the word2vec text format
pretune.json         ModelDescription: what serving and fine-tuning need to know
README.md            the model card
"""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract
from app.contract.checkpoint import FileEntry
from app.contract.specs.architectures import ConvArchitecture, MlpArchitecture, TextArchitecture

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
WORD_VECTORS_NAME = "vectors.txt"
TOKENIZER_NAME = "tokenizer.json"
CHAT_TEMPLATE_NAME = "chat_template.jinja"
DESCRIPTION_NAME = "pretune.json"
CARD_NAME = "README.md"

Label = str | int | bool


def label_key(label: Label) -> str:
    """A label as a key of a JSON object (`scores`, label counts): `true`, `1`, `positive`."""
    return str(label).lower() if isinstance(label, bool) else str(label)


class InputKind(StrEnum):
    """What one example of a model's input is."""

    TEXT = "text"
    FEATURES = "features"
    IMAGE = "image"


class Granularity(StrEnum):
    """What a body gives for one example: a vector a token [B, T, D], or one vector [B, D]."""

    TOKENS = "tokens"
    EXAMPLE = "example"


class BodyDescription(Contract):
    """What a fine-tune inherits. `input_shape` is [F] for features, [C, H, W] for images, null for text.

    `code_size` is the width of a body that ends in a linear layer: the code of an autoencoder, the features of a GAN's
    discriminator. `bidirectional`: a Transformer in which a token sees those behind it too.
    """

    architecture: Annotated[TextArchitecture | MlpArchitecture | ConvArchitecture, Field(discriminator="type")]
    input: InputKind
    granularity: Granularity
    input_shape: Annotated[tuple[int, ...], Field(strict=False)] | None = None
    vocab_size: int | None = None
    code_size: int | None = None
    bidirectional: bool = False


class ModelDescription(Contract):
    """`method` is the last method trained; `labels` are in head order; `target_size` is the width of a regression.
    `variational`: an autoencoder's, whose code has a spread too. `crf`: tags are scored by how they follow each other.
    """

    kind: Literal["pretrain", "finetune"]
    method: str
    body: BodyDescription
    labels: Annotated[tuple[Label, ...], Field(strict=False)] | None = None
    target_size: int | None = None
    variational: bool = False
    crf: bool = False
    num_parameters: int


def model_digest(files: Iterable[FileEntry]) -> str:
    """The digest by which a model is loaded and cached: SHA-256 over its files' paths and digests, sorted."""
    lines = sorted(f"{entry.sha256}  {entry.path}\n" for entry in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
