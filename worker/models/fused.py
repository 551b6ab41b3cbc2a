"""Our decoder as it is served: fewer and larger products, the same numbers. Knows no training.

Legend: B batch, T tokens, D width, H query heads, G key-value heads, E width of a head, F inner width.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from worker.models.key_value_cache import Extension
from worker.models.transformer import Attention, FeedForward, rotated


class FusedAttention(nn.Module):
    """Queries, keys and values by one product; queries and keys turned together."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.qkv_proj = beside(attention.q_proj, attention.k_proj, attention.v_proj)
        self.o_proj = attention.o_proj
        self.head_width, self.grouped = attention.head_width, attention.grouped
        self._heads = [layer.out_features // self.head_width for layer in (attention.q_proj, attention.k_proj)]

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Every token attends to itself and to those before it. x: [B, T, D]"""
        q, k, v = self._projected(x, rotation)
        return self._joined(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.grouped))

    def step(self, x: Tensor, rotation: tuple[Tensor, Tensor], extension: Extension, layer: int) -> Tensor:
        """The same for new tokens behind those in the cache."""
        return self._joined(extension.attend(layer, *self._projected(x, rotation)))

    def _projected(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries [B, H, T, E], keys and values [B, G, T, E]"""
        num_queries, num_keys = self._heads
        heads = self.qkv_proj(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)  # [B, H + 2 G, T, E]
        turned = rotated(heads[:, : num_queries + num_keys], rotation)
        return turned[:, :num_queries], turned[:, num_queries:], heads[:, num_queries + num_keys :]

    def _joined(self, attended: Tensor) -> Tensor:
        projected: Tensor = self.o_proj(attended.transpose(1, 2).flatten(-2))  # [B, T, H * E]
        return projected


class FusedFeedForward(nn.Module):
    """SwiGLU's two products of the same input as one."""

    def __init__(self, feed_forward: FeedForward) -> None:
        super().__init__()
        self.gate_up_proj = beside(feed_forward.gate_proj, feed_forward.up_proj)
        self.down_proj = feed_forward.down_proj

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)  # [B, T, F] each
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out


class FusedNorm(nn.Module):
    """RMSNorm in fewer operations than torch's, which on the CPU are seven."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight = norm.weight
        self.epsilon: Tensor
        self.register_buffer("epsilon", torch.tensor([norm.eps]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        out: Tensor = x * torch.addcmul(self.epsilon, length, length, value=1 / x.shape[-1]).rsqrt() * self.weight
        return out


def fuse(module: nn.Module) -> None:
    """Replace what can be fused, wherever it stands in the module."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if (fused := _FUSED.get(type(child))) is not None:
                part.set_submodule(name, fused(child))


_FUSED: Mapping[type[nn.Module], Callable[[Any], nn.Module]] = {
    Attention: FusedAttention,
    FeedForward: FusedFeedForward,
    nn.RMSNorm: FusedNorm,
}


def beside(*layers: nn.Linear) -> nn.Linear:
    """One layer without bias whose outputs are those of all, one behind the other."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    fused = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    fused.weight = nn.Parameter(weight, requires_grad=False)
    return fused
