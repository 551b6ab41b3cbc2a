"""The linear layers of a body, by name and size: what low-rank adapters can stand beside. Knows no torch.

Names are those of the modules in `worker.models`, and so those of the stock model that a body is exported as.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Literal, NamedTuple

from app.contract.model_folder import BodyDescription
from app.contract.specs.architectures import (
    BertArchitecture,
    Gpt2Architecture,
    MlpArchitecture,
    TransformerArchitecture,
)

#: Modules of a hidden layer of an MlpBody: the linear layer, ReLU, dropout.
_MODULES_A_LAYER = 3


class LinearLayer(NamedTuple):
    """`kind` is the name without the number of the layer: `self_attn.q_proj`."""

    name: str
    kind: str
    fan_in: int
    fan_out: int


def linear_layers(body: BodyDescription) -> list[LinearLayer]:
    """From the input up; none where a body's layers are of another form: convolutions, recurrent layers, vectors."""
    match body.architecture:
        case TransformerArchitecture() as shape:
            return _repeated("layers", shape.num_layers, _encoder(shape) if body.bidirectional else _decoder(shape))
        case Gpt2Architecture() as shape:
            return _repeated("h", shape.num_layers, _gpt2(shape))
        case BertArchitecture() as shape:
            return _repeated("encoder.layer", shape.num_layers, _bert(shape))
        case MlpArchitecture() as shape:
            assert body.input_shape is not None
            hidden = [
                (f"layers.{place * _MODULES_A_LAYER}", *sizes)
                for place, sizes in enumerate(pairwise([prod(body.input_shape), *shape.hidden_widths]))
            ]
            code = [("code", shape.hidden_widths[-1], body.code_size)] if body.code_size else []
            return [LinearLayer(name, name, *sizes) for name, *sizes in [*hidden, *code]]
        case _:
            return []


def adapted_layers(body: BodyDescription, targets: Literal["all_linear"] | Sequence[str]) -> list[LinearLayer]:
    """Those that the targets name, by the rule of the peft library: a target is a name, or what follows a dot in it."""
    layers = linear_layers(body)
    return (
        layers if targets == "all_linear" else [each for each in layers if any(_names(t, each.name) for t in targets)]
    )


def unknown_targets(layers: Collection[LinearLayer], targets: Collection[str]) -> list[str]:
    return [target for target in targets if not any(_names(target, layer.name) for layer in layers)]


def kinds(layers: Collection[LinearLayer]) -> list[str]:
    """Targets that name all of these layers, as short as they are clear: `q_proj`, but `attn.Wo` beside `mlp.Wo`."""
    whole = list(dict.fromkeys(layer.kind for layer in layers))
    last = [kind.rsplit(".", 1)[-1] for kind in whole]
    return [
        short if last.count(short) == 1 and not short.isdigit() else kind
        for kind, short in zip(whole, last, strict=True)
    ]


def _repeated(holder: str, num_layers: int, kinds: Mapping[str, tuple[int, int]]) -> list[LinearLayer]:
    return [
        LinearLayer(f"{holder}.{layer}.{kind}", kind, *size)
        for layer in range(num_layers)
        for kind, size in kinds.items()
    ]


def _names(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _decoder(shape: TransformerArchitecture) -> dict[str, tuple[int, int]]:
    width, inner = shape.width, shape.inner_width
    key_values = shape.key_value_heads * (width // shape.num_heads)
    return {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (width, key_values),
        "self_attn.v_proj": (width, key_values),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (width, inner),
        "mlp.up_proj": (width, inner),
        "mlp.down_proj": (inner, width),
    }


def _encoder(shape: TransformerArchitecture) -> dict[str, tuple[int, int]]:
    width, inner = shape.width, shape.inner_width
    return {
        "attn.Wqkv": (width, 3 * width),
        "attn.Wo": (width, width),
        "mlp.Wi": (width, 2 * inner),
        "mlp.Wo": (inner, width),
    }


def _gpt2(shape: Gpt2Architecture) -> dict[str, tuple[int, int]]:
    width, inner = shape.width, shape.feed_forward_width
    return {
        "attn.c_attn": (width, 3 * width),
        "attn.c_proj": (width, width),
        "mlp.c_fc": (width, inner),
        "mlp.c_proj": (inner, width),
    }


def _bert(shape: BertArchitecture) -> dict[str, tuple[int, int]]:
    width, inner = shape.width, shape.feed_forward_width
    return {
        **{f"attention.self.{part}": (width, width) for part in ("query", "key", "value")},
        "attention.output.dense": (width, width),
        "intermediate.dense": (width, inner),
        "output.dense": (inner, width),
    }
