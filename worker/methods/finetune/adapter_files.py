"""Adapters by themselves, in the two files of the peft library, which puts them on the parent's exported model.

Where that is of no stock architecture, names are our own, and the files serve to look at.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from app.contract.messages import ArtifactLine
from app.contract.specs import FinetuneSpec
from app.contract.specs.strategies import LoraStrategy
from worker.models.gpt2 import Gpt2
from worker.models.lora import adapter_state
from worker.stock import stock_name

WEIGHTS_NAME, CONFIG_NAME = "adapter_model.safetensors", "adapter_config.json"
#: How peft calls what the model is for; it knows no name for the other methods.
_TASK_TYPES: Mapping[str, str] = {
    "classification": "SEQ_CLS",
    "sequence_labeling": "TOKEN_CLS",
    "causal_language_model": "CAUSAL_LM",
    "instruction_tuning": "CAUSAL_LM",
}
_PREFIX = "base_model.model."


def write_adapter(
    folder: Path, module: nn.Module, asked: FinetuneSpec, spec: LoraStrategy, targets: Sequence[str]
) -> Sequence[ArtifactLine]:
    """Adapters, and the head where it was trained. `targets`: what names the adapted layers."""
    adapters = adapter_state(module)
    heads = {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and name not in adapters
    }
    weights = {
        _PREFIX + stock_name(module, name): tensor.detach().cpu().contiguous()
        for name, tensor in (adapters | heads).items()
    }
    save_file(weights, folder / WEIGHTS_NAME, metadata={"format": "pt"})
    configuration = {
        "peft_type": "LORA",
        "task_type": _TASK_TYPES.get(asked.method.type),
        "base_model_name_or_path": asked.parent,
        "r": spec.rank,
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "target_modules": [*targets],
        "modules_to_save": sorted({stock_name(module, name).rpartition(".")[0] for name in heads}) or None,
        "bias": "none",
        "fan_in_fan_out": isinstance(module.body, Gpt2),  # its files have the weights of layers transposed
        "init_lora_weights": True,
        "inference_mode": True,
    }
    (folder / CONFIG_NAME).write_text(json.dumps(configuration, indent=2) + "\n")
    return [
        ArtifactLine(name=WEIGHTS_NAME, path=folder / WEIGHTS_NAME, media_type="application/octet-stream"),
        ArtifactLine(name=CONFIG_NAME, path=folder / CONFIG_NAME, media_type="application/json"),
    ]
