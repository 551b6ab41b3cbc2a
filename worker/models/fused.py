"""Our decoder and encoder as they are served: fewer and larger operations, the same numbers. Knows no training.

A step of a lone text costs as much in calls as in arithmetic, so calls are what is saved. Legend: B batch, T tokens,
C context length, D width, H query heads, G key-value heads, E width of a head, F inner width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from worker.models.encoder import Attention as EncoderAttention
from worker.models.key_value_cache import Extension
from worker.models.transformer import Attention, FeedForward, Rotary


class FusedRotary(nn.Module):
    """Positions as complex numbers of length 1."""

    def __init__(self, rotary: Rotary) -> None:
        super().__init__()
        cosine, sine = (rotary.get_buffer(name).chunk(2, dim=-1)[0] for name in ("cosine", "sine"))
        self.register_buffer("turns", torch.complex(cosine, sine), persistent=False)  # [C, E/2]

    def at(self, positions: Tensor | slice) -> Tensor:
        """Complex, at positions [B, T], as [B, T, 1, E/2], or at a slice of length T, as [T, 1, E/2]."""
        return self.get_buffer("turns")[positions].unsqueeze(-2)


class Heads(nn.Module):
    """Queries, keys and values by one product, and in one piece. Their dimensions i and i + E/2 stand side by side: a
    complex number, which one product turns."""

    def __init__(self, layers: Sequence[nn.Linear], head_width: int, num_turned: int) -> None:
        """`num_turned`: of the heads; those of the values, which are the last, stay."""
        super().__init__()
        self.qkv_proj = beside(*layers)
        self._head_width, self._num_turned = head_width, num_turned
        weight = self.qkv_proj.weight.detach()[: num_turned * head_width]
        weight.copy_(weight.view(num_turned, 2, head_width // 2, -1).transpose(1, 2).flatten(0, 2))

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x: [B, T, D] -> [B, T, H + 2 G, E]"""
        heads: Tensor = self.qkv_proj(x).unflatten(-1, (-1, self._head_width))
        turned = heads[:, :, : self._num_turned]
        torch.view_as_complex(turned.view(*turned.shape[:-1], -1, 2)).mul_(rotation)
        return heads


class FusedAttention(nn.Module):
    def __init__(self, attention: Attention) -> None:
        super().__init__()
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        self._num_heads = [layer.out_features // attention.head_width for layer in projections]
        self.heads = Heads(projections, attention.head_width, sum(self._num_heads[:2]))
        self.o_proj, self.grouped = attention.o_proj, attention.grouped

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Every token attends to itself and to those before it. x: [B, T, D]"""
        q, k, v = self.heads(x, rotation).transpose(1, 2).split(self._num_heads, dim=1)
        return self._joined(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.grouped))

    def step(self, x: Tensor, rotation: Tensor, extension: Extension, layer: int) -> Tensor:
        """The same for new tokens behind those in the cache."""
        return self._joined(extension.attend(layer, self.heads(x, rotation)))

    def _joined(self, attended: Tensor) -> Tensor:
        projected: Tensor = self.o_proj(attended.transpose(1, 2).flatten(-2))  # [B, T, H * E]
        return projected


class FusedEncoderAttention(nn.Module):
    def __init__(self, attention: EncoderAttention) -> None:
        super().__init__()
        head_width = attention.Wo.in_features // attention.num_heads
        self.heads, self.Wo = Heads([attention.Wqkv], head_width, 2 * attention.num_heads), attention.Wo

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, T, D]; mask: bool [B, 1, 1, T], true for tokens and false for padding; None where all are tokens"""
        q, k, v = self.heads(x, rotation).transpose(1, 2).chunk(3, dim=1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out: Tensor = self.Wo(attended.transpose(1, 2).flatten(-2))
        return out


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
        assert norm.eps is not None
        width = norm.weight.shape[-1]
        self.weight: Tensor
        self.shortest: Tensor
        self.register_buffer("weight", norm.weight.detach() * math.sqrt(width), persistent=False)
        self.register_buffer("shortest", torch.tensor([math.sqrt(norm.eps * width)]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        out: Tensor = x / length.hypot(self.shortest) * self.weight
        return out


def fuse(module: nn.Module) -> None:
    """Replace what can be fused, wherever it stands in the module."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if (fused := _FUSED.get(type(child))) is not None:
                part.set_submodule(name, fused(child))


_FUSED: Mapping[type[nn.Module], Callable[[Any], nn.Module]] = {
    Rotary: FusedRotary,
    Attention: FusedAttention,
    EncoderAttention: FusedEncoderAttention,
    FeedForward: FusedFeedForward,
    nn.RMSNorm: FusedNorm,
}


def beside(*layers: nn.Linear) -> nn.Linear:
    """One layer without bias whose outputs are those of all, one behind the other."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    fused = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    fused.weight = nn.Parameter(weight, requires_grad=False)
    return fused
