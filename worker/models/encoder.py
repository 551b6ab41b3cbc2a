"""A Transformer encoder: pre-norm LayerNorm, rotary positions, GeGLU; every token attends to every other.

This is ModernBERT's block (Warner et al. 2024) with global attention in all layers, and parameters are named as in
transformers' ModernBertForMaskedLM, so that a saved model loads there as it is. Of the stock encoders it is the one
whose block is that of our decoder, and whose classifier pools as ours does. Knows no tokenizer and no data.

Legend: B batch, T tokens, K places, D width, H heads, E width of a head, F inner width, V vocabulary.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.specs.architectures import BertArchitecture, MaskedArchitecture, TransformerArchitecture
from worker.models.body import Body
from worker.models.cross_entropy import summed_cross_entropy
from worker.models.language_model import INITIAL_DEVIATION
from worker.models.transformer import rotary_of, rotated


class BidirectionalBody(Body):
    """Each token sees all others, so that it can be told from both sides."""

    architecture: MaskedArchitecture

    @property
    @abstractmethod
    def token_embedding(self) -> nn.Embedding:
        """The vectors of the vocabulary."""

    @abstractmethod
    def prediction_head(self) -> nn.Module:
        """A new one of what stands between these vectors and the logits of tokens: [..., D] -> [..., D]"""

    @abstractmethod
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens: int64 [B, T], T at most the context length; mask: bool [B, 1, 1, T], true for tokens and false
        for padding; None where all are tokens -> [B, T, D]"""

    def encode(self, batch: Mapping[str, Tensor]) -> Tensor:
        tokens = batch["tokens"]
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self(tokens, (positions < batch["lengths"][:, None])[:, None, None])  # type: ignore[no-any-return]


def layer_norm(architecture: TransformerArchitecture) -> nn.LayerNorm:
    return nn.LayerNorm(architecture.width, eps=architecture.norm_epsilon, bias=False)


class Embeddings(nn.Module):
    """Normalised, so the first block has no norm of its own before attention."""

    def __init__(self, architecture: TransformerArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab_size, architecture.width)
        self.norm = layer_norm(architecture)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T] -> [B, T, D]"""
        out: Tensor = self.dropout(self.norm(self.tok_embeddings(tokens)))
        return out


class Attention(nn.Module):
    def __init__(self, architecture: TransformerArchitecture) -> None:
        super().__init__()
        width = architecture.width
        self.num_heads = architecture.num_heads
        self.Wqkv = nn.Linear(width, 3 * width, bias=False)
        self.Wo = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x: [B, T, D]; mask: bool [B, 1, 1, T], true for tokens and false for padding; None where all are tokens"""
        q, k, v = self.Wqkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # [B, H, T, E] each
        attended = F.scaled_dot_product_attention(rotated(q, rotation), rotated(k, rotation), v, attn_mask=mask)
        out: Tensor = self.Wo(attended.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    """GeGLU (Shazeer 2020)."""

    def __init__(self, architecture: TransformerArchitecture) -> None:
        super().__init__()
        self.Wi = nn.Linear(architecture.width, 2 * architecture.inner_width, bias=False)
        self.Wo = nn.Linear(architecture.inner_width, architecture.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner, gate = self.Wi(x).chunk(2, dim=-1)  # [B, T, F] each
        out: Tensor = self.Wo(F.gelu(inner) * gate)
        return out


class Block(nn.Module):
    def __init__(self, architecture: TransformerArchitecture, *, is_first: bool) -> None:
        super().__init__()
        self.attn_norm = nn.Identity() if is_first else layer_norm(architecture)
        self.attn = Attention(architecture)
        self.mlp_norm = layer_norm(architecture)
        self.mlp = FeedForward(architecture)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        x = x + self.dropout(self.attn(self.attn_norm(x), rotation, mask))
        out: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return out


class Encoder(BidirectionalBody):
    """The body: what a fine-tune inherits."""

    architecture: TransformerArchitecture

    def __init__(self, architecture: TransformerArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.width = architecture.width
        self.embeddings = Embeddings(architecture, vocab_size)
        self.layers = nn.ModuleList(Block(architecture, is_first=n == 0) for n in range(architecture.num_layers))
        self.final_norm = layer_norm(architecture)
        self.rotary = rotary_of(architecture)
        self._initialize(architecture.num_layers)

    def stages(self) -> Sequence[nn.ModuleList]:
        *lower, top = self.layers
        return [
            nn.ModuleList([self.embeddings]),
            *(nn.ModuleList([block]) for block in lower),
            nn.ModuleList([top, self.final_norm]),
        ]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.layers)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens: int64 [B, T], T at most the context length; mask as in Attention -> [B, T, D]"""
        rotation = self.rotary.at(slice(tokens.shape[1]))
        x = self.embeddings(tokens)
        for block in self.layers:
            x = block(x, rotation, mask)
        out: Tensor = self.final_norm(x)
        return out

    @property
    def token_embedding(self) -> nn.Embedding:
        return self.embeddings.tok_embeddings

    def prediction_head(self) -> nn.Module:
        return PredictionHead(self.architecture)

    def _initialize(self, num_layers: int) -> None:
        """What adds to the residual stream starts smaller, the deeper the stack (Radford et al. 2019)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                adds = name.endswith("Wo.weight")
                nn.init.normal_(parameter, std=INITIAL_DEVIATION / (math.sqrt(2 * num_layers) if adds else 1.0))


class PredictionHead(nn.Module):
    """What stands between an encoder's vectors and any linear layer that answers."""

    def __init__(self, architecture: TransformerArchitecture) -> None:
        super().__init__()
        self.dense = nn.Linear(architecture.width, architecture.width, bias=False)
        self.norm = layer_norm(architecture)
        nn.init.normal_(self.dense.weight, std=INITIAL_DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]"""
        out: Tensor = self.norm(F.gelu(self.dense(x)))
        return out


class MaskedLanguageModel(nn.Module):
    """A body, and over it a logit for each token of the vocabulary; tied, the last layer is the embedding matrix."""

    def __init__(self, body: BidirectionalBody) -> None:
        super().__init__()
        self.model = body
        self.head = body.prediction_head()
        embedding = body.token_embedding
        has_bias = isinstance(body.architecture, BertArchitecture)
        self.decoder = nn.Linear(body.width, embedding.num_embeddings, bias=has_bias)
        nn.init.normal_(self.decoder.weight, std=INITIAL_DEVIATION)
        if body.architecture.tie_embeddings:
            self.decoder.weight = embedding.weight

    @property
    def body(self) -> BidirectionalBody:
        return self.model

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T] -> logits [B, T, V]"""
        logits: Tensor = self.decoder(self.head(self.model(tokens)))
        return logits

    def at(self, batch: Mapping[str, Tensor], rows: Tensor, places: Tensor) -> Tensor:
        """Logits where they are asked for alone: at places of rows, int64 [K] both -> [K, V]"""
        logits: Tensor = self.decoder(self.head(self.model.encode(batch)[rows, places]))
        return logits

    def guesses(self, tokens: Tensor, places: Tensor) -> Tensor:
        """What the last layer makes logits of at some places of each row: int64 [B, T] and [B, K] -> [B * K, D]"""
        encoded = self.model(tokens)
        chosen = encoded.gather(1, places[..., None].expand(-1, -1, encoded.shape[2]))  # [B, K, D]
        out: Tensor = self.head(chosen).flatten(0, 1)
        return out

    def loss(self, tokens: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """targets: int64 [B, K] -> negative log-likelihood of the targets, summed over all B * K."""
        guesses = self.guesses(tokens, places)
        return summed_cross_entropy(guesses, self.decoder.weight, targets.flatten(), self.decoder.bias)
