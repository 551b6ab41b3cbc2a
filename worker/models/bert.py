"""BERT's encoder (Devlin et al. 2018): post-norm LayerNorm, learned positions, token types, GELU, biases.

Parameters are named as in transformers' BertModel. Every text is a single one, so all tokens are of the first type.
Knows no tokenizer and no data.

Legend: B batch, T tokens, D width, H heads, E width of a head, F inner width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import Tensor, nn

from app.contract.specs.architectures import BertArchitecture
from worker.models.activations import ACTIVATIONS
from worker.models.encoder import BidirectionalBody


def layer_norm(architecture: BertArchitecture) -> nn.LayerNorm:
    return nn.LayerNorm(architecture.width, eps=architecture.norm_epsilon)


class Embeddings(nn.Module):
    def __init__(self, architecture: BertArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, architecture.width)
        self.position_embeddings = nn.Embedding(architecture.context_length, architecture.width)
        self.token_type_embeddings = nn.Embedding(architecture.num_token_types, architecture.width)
        self.LayerNorm = layer_norm(architecture)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [B, T] -> [B, T, D]"""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.word_embeddings(tokens) + self.position_embeddings(positions)
        x = x + self.token_type_embeddings(torch.zeros_like(positions))
        out: Tensor = self.dropout(self.LayerNorm(x))
        return out


class Attention(nn.Module):
    def __init__(self, architecture: BertArchitecture) -> None:
        super().__init__()
        self.num_heads = architecture.num_heads
        self.query = nn.Linear(architecture.width, architecture.width)
        self.key = nn.Linear(architecture.width, architecture.width)
        self.value = nn.Linear(architecture.width, architecture.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: [B, T, D]; mask: bool [B, 1, 1, T], true for tokens and false for padding; None where all are tokens"""
        q, k, v = (
            projection(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, H, T, E]
            for projection in (self.query, self.key, self.value)
        )
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(-2)


class Added(nn.Module):
    """The end of each half of a block: a linear layer, added to what the half was given, and a norm."""

    def __init__(self, architecture: BertArchitecture, inner_width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner_width, architecture.width)
        self.LayerNorm = layer_norm(architecture)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, inner: Tensor, x: Tensor) -> Tensor:
        """[B, T, inner width], [B, T, D] -> [B, T, D]"""
        out: Tensor = self.LayerNorm(x + self.dropout(self.dense(inner)))
        return out


class Block(nn.Module):
    def __init__(self, architecture: BertArchitecture) -> None:
        super().__init__()
        width, inner_width = architecture.width, architecture.feed_forward_width
        self.attention = nn.ModuleDict({"self": Attention(architecture), "output": Added(architecture, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner_width)})
        self.output = Added(architecture, inner_width)
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, mask), x)
        out: Tensor = self.output(self.activation(self.intermediate["dense"](x)), x)
        return out


class Blocks(nn.Module):
    def __init__(self, architecture: BertArchitecture) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(architecture) for _ in range(architecture.num_layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for block in self.layer:
            x = block(x, mask)
        return x


class PredictionTransform(nn.Module):
    """What stands between the encoder's vectors and the logits of a masked language model."""

    def __init__(self, architecture: BertArchitecture) -> None:
        super().__init__()
        self.dense = nn.Linear(architecture.width, architecture.width)
        self.LayerNorm = layer_norm(architecture)
        self.activation = ACTIVATIONS[architecture.activation]

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]"""
        out: Tensor = self.LayerNorm(self.activation(self.dense(x)))
        return out


class Pooler(nn.Module):
    """What stands between the vector of the first token and the logits of a classifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] -> [B, D]"""
        return torch.tanh(self.dense(x))


class Bert(BidirectionalBody):
    """The body: what a fine-tune inherits."""

    architecture: BertArchitecture

    def __init__(self, architecture: BertArchitecture, vocab_size: int) -> None:
        super().__init__()
        self.architecture = architecture
        self.width = architecture.width
        self.embeddings = Embeddings(architecture, vocab_size)
        self.encoder = Blocks(architecture)

    def stages(self) -> Sequence[nn.ModuleList]:
        return [nn.ModuleList([part]) for part in (self.embeddings, *self.encoder.layer)]

    def blocks(self) -> Sequence[nn.Module]:
        return list(self.encoder.layer)

    @property
    def token_embedding(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def prediction_head(self) -> nn.Module:
        return PredictionTransform(self.architecture)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens: int64 [B, T], T at most the context length; mask as in Attention -> [B, T, D]"""
        out: Tensor = self.encoder(self.embeddings(tokens), mask)
        return out
