"""The model folder, in and out: stock files that other tools read, and our own description beside them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from app.contract.model_folder import (
    CHAT_TEMPLATE_NAME,
    CONFIG_NAME,
    DESCRIPTION_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    WORD_VECTORS_NAME,
    ModelDescription,
)
from worker.data.tokenizers import load_tokenizer, words_of
from worker.models.building import build_module
from worker.models.lora import merged_state
from worker.models.skip_gram import Word2Vec
from worker.stock import configuration, stock_layout, stock_name, tokenizer_configuration
from worker.word_vectors import write_word_vectors

_TOKENIZER_CONFIG_NAME = "tokenizer_config.json"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`module` is in eval mode, fp32, on the CPU. `tokenizer` where the model reads text; `chat_template` where it was
    taught one."""

    description: ModelDescription
    module: nn.Module
    tokenizer: Tokenizer | None
    chat_template: str | None = None


def export_model(
    folder: Path,
    module: nn.Module,
    description: ModelDescription,
    tokenizer: Tokenizer | None,
    chat_template: str | None = None,
) -> None:
    """Write the model folder into an existing one. Equal weights give equal bytes."""
    save_file(_filed_tensors(module), folder / WEIGHTS_NAME, metadata={"format": "pt"})
    _write_json(folder / CONFIG_NAME, configuration(module, description, tokenizer))
    (folder / DESCRIPTION_NAME).write_text(description.model_dump_json(indent=2) + "\n")
    if isinstance(module, Word2Vec) and tokenizer is not None:
        _write_words(folder / WORD_VECTORS_NAME, module, tokenizer)
    if chat_template is not None:
        (folder / CHAT_TEMPLATE_NAME).write_text(chat_template, encoding="utf-8")
    if tokenizer is not None:
        (folder / TOKENIZER_NAME).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        _write_json(folder / _TOKENIZER_CONFIG_NAME, tokenizer_configuration(description, tokenizer))


def load_model(folder: Path) -> LoadedModel:
    """Raises ValueError, RuntimeError or OSError where the folder is not one that `export_model` wrote."""
    description = ModelDescription.model_validate_json((folder / DESCRIPTION_NAME).read_bytes())
    module = build_module(description)
    _load_filed_tensors(module, load_file(folder / WEIGHTS_NAME))
    tokenizer_path, template_path = folder / TOKENIZER_NAME, folder / CHAT_TEMPLATE_NAME
    tokenizer = load_tokenizer(tokenizer_path) if tokenizer_path.exists() else None
    template = template_path.read_text(encoding="utf-8") if template_path.exists() else None
    return LoadedModel(description, module.eval(), tokenizer, template)


def _filed_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What a file holds, under its names there: each persistent tensor once, where several names share it."""
    seen: dict[int, str] = {}
    return {
        stock_name(module, name): stock_layout(module, name, tensor.detach()).cpu().contiguous()
        for name, tensor in merged_state(module).items()
        if seen.setdefault(id(tensor), name) == name
    }


def _load_filed_tensors(module: nn.Module, weights: dict[str, Tensor]) -> None:
    if differences := weights.keys() ^ _filed_tensors(module).keys():
        raise ValueError(f"{WEIGHTS_NAME} and {DESCRIPTION_NAME} disagree on {', '.join(sorted(differences)[:5])}")
    ours = {stock_name(module, name): name for name in module.state_dict()}
    # Names that share a tensor are filled with it.
    layouts = {ours[name]: stock_layout(module, ours[name], tensor) for name, tensor in weights.items()}
    module.load_state_dict(layouts, strict=False)


def _write_words(path: Path, module: Word2Vec, tokenizer: Tokenizer) -> None:
    """Every word, in the order of the vocabulary, which is that of frequency."""
    words = words_of(tokenizer)
    vectors = module.body.embeddings.weight.detach().cpu()[[*words.values()]]
    write_word_vectors(path, [*words], vectors)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
