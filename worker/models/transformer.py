"""A decoder-only Transformer: pre-norm RMSNorm, rotary positions, SwiGLU, grouped-query attention.

This is Llama's block (Touvron et al. 2023), and parameters are named as in transformers' LlamaForCausalLM, so that a
saved model loads there as it is. Knows no tokenizer, no data and no loss.

Legend: B batch, T tokens, D width, H query heads, G key-value heads, E width of a head, F inner width.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.specs.architectures import TransformerArchitecture
from worker.models.key_value_cache import Extension, KeyValueCache
from worker.models.language_model import INITIAL_DEVIATION, CausalBody


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021) in Llama's layout: dimension i turns with i + E/2, not with its neighbour."""

    def __init__(self, head_width: int, context_length: int, base: float) -> None:
        super().__init__()
        rates = base ** -(torch.arange(0, head_width, 2, dtype=torch.float32) / head_width)
        angles = torch.arange(context_length, dtype=torch.float32)[:, None] * rates  # [T, E/2]
        self.register_buffer("cosine", torch.cat([angles, angles], dim=1).cos(), persistent=False)
        self.register_buffer("sine", torch.cat([angles, angles], dim=1).sin(), persistent=False)

    def at(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Cosine and sine at positions [B, T], as [B, 1, T, E], or at a slice of length T, as [T, E]."""
        cosine, sine = self.get_buffer("cosine")[positions], self.get_buffer("sine")[positions]
        return (cosine, sine) if isinstance(positions, slice) else (cosine.unsqueeze(1), sine.unsqueeze(1))


def rotary_of(architecture: TransformerArchitecture) -> Rotary:
    head_width = architecture.width // architecture.num_heads
    return Rotary(head_width, architecture.context_length, architecture.rope_theta)


def rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """x: [B, heads, T, E]"""
    cosine, sine = (part.to(x.dtype) for part in rotation)
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


class Attention(nn.Module):
    def __init__(self, architecture: TransformerArchitecture) -> None:
        super().__init__()
        width, self.head_width = architecture.width, architecture.width // architecture.num_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, architecture.key_value_heads * self.head_width, bias=False)
        self.v_proj = nn.Linear(width, architecture.key_value_heads * self.head_width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.grouped = architecture.key_value_heads < architecture.num_heads

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Every token attends to itself and to those before it. x: [B, T, D]"""
        q, k, v = self._projected(x, rotation)
        return self._joined(F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.grouped))

    def step(self, x: Tensor, rotation: tuple[Tensor, Tensor], extension: Extension, layer: int) -> Tensor:
        """The same for new tokens behind those in the cache."""
        return self._joined(extension.attend(layer, torch.cat(self._projected(x, rotation), dim=1).transpose(1, 2)))

    def _projected(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries [B, H, T, E], keys and values [B, G, T, E]"""
        q, k, v = (
            projection(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return rotated(q, rotation), rotated(k, rotation), v

    def _joined(self, attended: Tensor) -> Tensor:
        projected: Tensor = self.o_proj(attended.transpose(1, 2).flatten(-2))  # [B, T, H * E]
        return projected


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, width: int, inner_width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner_width, bias=False)
        self.up_proj = nn.Linear(width, inner_width, bias=False)
        self.down_proj = nn.Linear(inner_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # [B, T, F] inside
        return out


class Block(nn.Module):
    """Dropout falls on what each half adds; not on attention weights, which would forbid the fused kernel."""

    def __init__(self, architecture: TransformerArchitecture) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(architecture.width, eps=architecture.norm_epsilon)
        self.self_attn = Attention(architecture)
        self.post_attention_layernorm = nn.RMSNorm(architecture.width, eps=architecture.norm_epsilon)
        self.mlp = FeedForward(architecture.width, architecture.inner_width)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), rotation))
        out: Tensor = x + self.dropout(self.mlp(self.post_attention_layernorm(x)))
        return out

    def step(self, x: Tensor, rotation: tuple[Tensor, Tensor], extension: Extension, layer: int) -> Tensor:
        x = x + self.self_attn.step(self.input_layernorm(x), rotation, extension, layer)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Transformer(CausalBody[KeyValueCache]):
    """The body: what a fine-tune inherits."""

    architecture: TransformerArchitecture

    def __init__(self, architecture: TransformerArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.width = architecture.width
        self.embed_tokens = nn.Embedding(vocab_size, architecture.width)
        self.dropout = nn.Dropout(architecture.dropout)
        self.layers = nn.ModuleList(Block(architecture) for _ in range(architecture.num_layers))
        self.norm = nn.RMSNorm(architecture.width, eps=architecture.norm_epsilon)
        self.rotary = rotary_of(architecture)
        self._initialize(architecture.num_layers)

    @property
    def token_embedding(self) -> nn.Embedding:
        return self.embed_tokens

    def stages(self) -> Sequence[nn.ModuleList]:
        *lower, top = self.layers
        return [
            nn.ModuleList([self.embed_tokens, self.dropout]),
            *(nn.ModuleList([block]) for block in lower),
            nn.ModuleList([top, self.norm]),
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T], T at most the context length -> [B, T, D]"""
        rotation = self.rotary.at(slice(tokens.shape[1]))
        x = self.dropout(self.embed_tokens(tokens))
        for block in self.layers:
            x = block(x, rotation)
        out: Tensor = self.norm(x)
        return out

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """tokens: int64 [B, T], right-padded -> [B, T, D]. No token looks ahead, so padding behind changes nothing."""
        return self(batch["tokens"])  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        extension = cache.extend(tokens.shape[1])
        rotation = self.rotary.at(extension.positions)
        x = self.embed_tokens(tokens)
        for layer, block in enumerate(self.layers):
            x = block.step(x, rotation, extension, layer)  # type: ignore[operator]
        out: Tensor = self.norm(x)
        return out

    def new_cache(self, dtype: torch.dtype) -> KeyValueCache:
        shape = self.architecture
        head_width, like = shape.width // shape.num_heads, self.embed_tokens.weight.new_empty(0, dtype=dtype)
        return KeyValueCache(shape.num_layers, shape.key_value_heads, head_width, like)

    def _initialize(self, num_layers: int) -> None:
        """GPT-2's: what adds to the residual stream starts smaller, the deeper the stack (Radford et al. 2019)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                adds = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=INITIAL_DEVIATION / (math.sqrt(2 * num_layers) if adds else 1.0))
