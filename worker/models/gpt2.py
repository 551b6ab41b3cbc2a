"""GPT-2's decoder (Radford et al. 2019): pre-norm LayerNorm, learned positions, GELU, biases.

Parameters are named as in transformers' GPT2Model, whose files hold the weights of layers transposed. Knows no
tokenizer, no data and no loss.

Legend: B batch, T tokens, D width, H heads, E width of a head, F inner width.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.specs.architectures import Gpt2Architecture
from worker.models.activations import ACTIVATIONS
from worker.models.key_value_cache import Extension, KeyValueCache
from worker.models.language_model import CausalBody


class Attention(nn.Module):
    def __init__(self, architecture: Gpt2Architecture) -> None:
        super().__init__()
        self.num_heads = architecture.num_heads
        self.c_attn = nn.Linear(architecture.width, 3 * architecture.width)
        self.c_proj = nn.Linear(architecture.width, architecture.width)

    def forward(self, x: Tensor) -> Tensor:
        """Every token attends to itself and to those before it. x: [B, T, D]"""
        return self._joined(F.scaled_dot_product_attention(*self._projected(x), is_causal=True))

    def step(self, x: Tensor, extension: Extension, layer: int) -> Tensor:
        """The same for new tokens behind those in the cache."""
        return self._joined(extension.attend(layer, self.c_attn(x).unflatten(-1, (3 * self.num_heads, -1))))

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> queries, keys and values, [B, H, T, E] each"""
        q, k, v = self.c_attn(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _joined(self, attended: Tensor) -> Tensor:
        out: Tensor = self.c_proj(attended.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    def __init__(self, architecture: Gpt2Architecture) -> None:
        super().__init__()
        self.c_fc = nn.Linear(architecture.width, architecture.feed_forward_width)
        self.c_proj = nn.Linear(architecture.feed_forward_width, architecture.width)
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.c_proj(self.activation(self.c_fc(x)))  # [B, T, F] inside
        return out


class Block(nn.Module):
    """Dropout falls on what each half adds; not on attention weights, which would forbid the fused kernel."""

    def __init__(self, architecture: Gpt2Architecture) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(architecture.width, eps=architecture.norm_epsilon)
        self.attn = Attention(architecture)
        self.ln_2 = nn.LayerNorm(architecture.width, eps=architecture.norm_epsilon)
        self.mlp = FeedForward(architecture)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x)))
        out: Tensor = x + self.dropout(self.mlp(self.ln_2(x)))
        return out

    def step(self, x: Tensor, extension: Extension, layer: int) -> Tensor:
        x = x + self.attn.step(self.ln_1(x), extension, layer)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Gpt2(CausalBody[KeyValueCache]):
    """The body: what a fine-tune inherits."""

    architecture: Gpt2Architecture

    def __init__(self, architecture: Gpt2Architecture, vocab_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.width = architecture.width
        self.wte = nn.Embedding(vocab_size, architecture.width)
        self.wpe = nn.Embedding(architecture.context_length, architecture.width)
        self.dropout = nn.Dropout(architecture.dropout)
        self.h = nn.ModuleList(Block(architecture) for _ in range(architecture.num_layers))
        self.ln_f = nn.LayerNorm(architecture.width, eps=architecture.norm_epsilon)

    def stages(self) -> Sequence[nn.ModuleList]:
        *lower, top = self.h
        return [
            nn.ModuleList([self.wte, self.wpe, self.dropout]),
            *(nn.ModuleList([block]) for block in lower),
            nn.ModuleList([top, self.ln_f]),
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.h)

    @property
    def token_embedding(self) -> nn.Embedding:
        return self.wte

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T], T at most the context length -> [B, T, D]"""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropout(self.wte(tokens) + self.wpe(positions))
        for block in self.h:
            x = block(x)
        out: Tensor = self.ln_f(x)
        return out

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        """tokens: int64 [B, T], right-padded -> [B, T, D]. No token looks ahead, so padding behind changes nothing."""
        return self(batch["tokens"])  # type: ignore[no-any-return]

    def step(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        extension = cache.extend(tokens.shape[1])
        x = self.wte(tokens) + self.wpe(extension.positions)
        for layer, block in enumerate(self.h):
            x = block.step(x, extension, layer)  # type: ignore[operator]
        out: Tensor = self.ln_f(x)
        return out

    def new_cache(self, dtype: torch.dtype) -> KeyValueCache:
        shape = self.architecture
        head_width, like = shape.width // shape.num_heads, self.wte.weight.new_empty(0, dtype=dtype)
        return KeyValueCache(shape.num_layers, shape.num_heads, head_width, like)
