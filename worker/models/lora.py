"""Low-rank adapters beside linear layers (Hu et al. 2021), and the state of a module without them.

Legend: I inputs of a layer, O its outputs, R the rank.
"""

from collections.abc import Iterable, Iterator

import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn


class AdaptedLinear(nn.Linear):
    """W x + b + s B A dropout(x), s = alpha / rank (section 4.1). W [O, I] and b stay under the names that they had.

    A [R, I] begins at random and B [O, R] at zero, so the layer begins as it was. A is drawn as torch draws linear
    layers, which is what the authors' own code does; the paper says by a Gaussian.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.lora_dropout = nn.Dropout(dropout)
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] -> [..., O]"""
        added: Tensor = self.lora_B(self.lora_A(self.lora_dropout(x)))
        return F.linear(x, self.weight, self.bias) + self.scale * added

    def merged(self) -> Tensor:
        """W + s B A [O, I], with which a plain layer computes the same."""
        return self.weight + self.scale * self.lora_B.weight @ self.lora_A.weight


def adapt(body: nn.Module, names: Iterable[str], rank: int, alpha: float, dropout: float) -> None:
    """Put adapters beside these linear layers of the body."""
    for name in names:
        above, _, last = name.rpartition(".")
        layer = body.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        setattr(body.get_submodule(above), last, AdaptedLinear(layer, rank, alpha, dropout))


def merged_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state as it would be without adapters, what they add being in the weights. Parameters are given
    themselves, so that one under two names can be told."""
    state = dict(module.state_dict(keep_vars=True))
    for name, layer in _adapted(module):
        state[f"{name}.weight"] = layer.merged()
        for adapter in _adapters(name, layer):
            del state[adapter]
    return state


def adapter_state(module: nn.Module) -> dict[str, Tensor]:
    """The adapters alone, by their names in the module: `layers.0.self_attn.q_proj.lora_A.weight`."""
    return {adapter: weight for name, layer in _adapted(module) for adapter, weight in _adapters(name, layer).items()}


def _adapted(module: nn.Module) -> Iterator[tuple[str, AdaptedLinear]]:
    for name, layer in module.named_modules():
        if isinstance(layer, AdaptedLinear):
            yield name, layer


def _adapters(name: str, layer: AdaptedLinear) -> dict[str, Tensor]:
    return {f"{name}.lora_A.weight": layer.lora_A.weight, f"{name}.lora_B.weight": layer.lora_B.weight}
