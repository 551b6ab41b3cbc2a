"""Architectures: the numbers that shape a body. Each is one variant, told apart by `type`.

Bounds here only keep absurd shapes out; the total size is checked by arithmetic in `app.contract.sizes`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.contract.base import Contract

Width = Annotated[int, Field(ge=1, le=65_536)]
Layers = Annotated[int, Field(ge=1, le=1_024)]
ContextLength = Annotated[int, Field(ge=2, le=1_048_576)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]
Heads = Annotated[int, Field(ge=1, le=1_024)]
#: What a norm adds to a variance before it divides by its root.
NormEpsilon = Annotated[float, Field(gt=0.0, le=0.1)]


class TransformerArchitecture(Contract):
    """A pre-norm Transformer (Vaswani et al. 2017) with rotary positions and gated feed-forward layers: a decoder with
    RMSNorm and SwiGLU, or for masked language models an encoder with LayerNorm and GeGLU."""

    type: Literal["transformer"] = "transformer"
    num_layers: Layers = 4
    width: Width = 256
    num_heads: Heads = 4
    num_key_value_heads: Heads | None = Field(
        default=None, description="Grouped-query attention: must divide num_heads. Default: num_heads."
    )
    feed_forward_width: Width | None = Field(
        default=None,
        description="Inner width of the gated feed-forward. Default: 8/3 of width, rounded up to a multiple of 32.",
    )
    context_length: ContextLength = 256
    dropout: Dropout = 0.0
    tie_embeddings: bool = True
    rope_theta: Annotated[
        float, Field(ge=1.0, le=1e12, description="Base of the rotary periods: the larger, the further they reach.")
    ] = 10_000.0
    norm_epsilon: NormEpsilon = 1e-5

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        _check_heads(self.width, self.num_heads)
        if (self.width // self.num_heads) % 2:
            raise ValueError(
                f"width {self.width} / num_heads {self.num_heads} = {self.width // self.num_heads}: "
                "rotary positions need an even head width"
            )
        if self.num_heads % self.key_value_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is not divisible by num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    @property
    def key_value_heads(self) -> int:
        return self.num_key_value_heads or self.num_heads

    @property
    def inner_width(self) -> int:
        """Inner width of SwiGLU: 8/3 of the width keeps the parameters of a 4x ReLU block (Shazeer 2020)."""
        return self.feed_forward_width or -(-(8 * self.width) // 96) * 32


class SkipgramArchitecture(Contract):
    """A vector a word, whatever stands around it (Mikolov et al. 2013)."""

    type: Literal["skipgram"] = "skipgram"
    width: Width = 100
    context_length: ContextLength = Field(
        default=256, description="Words read together: no window reaches beyond, and fine-tunes read no more of a text."
    )


class _Recurrent(Contract):
    """Layers that read a text from left to right, each handing its state on from token to token.

    The state starts at zero with every window, so `context_length` bounds what a token can depend on, as it does in a
    Transformer. Dropout falls between layers, never on what a layer hands on to itself (Zaremba et al. 2014).
    """

    num_layers: Layers = 2
    width: Width = Field(default=256, description="Numbers in the state of a layer.")
    embedding_width: Width | None = Field(default=None, description="Numbers in a token's vector. Default: width.")
    context_length: ContextLength = 256
    dropout: Dropout = 0.0
    tie_embeddings: bool = True

    @model_validator(mode="after")
    def _tied_embeddings_have_the_width_of_the_state(self) -> Self:
        if self.tie_embeddings and self.input_width != self.width:
            raise ValueError(
                f"tie_embeddings makes the vectors of tokens those of the head, and embedding_width "
                f"{self.embedding_width} differs from width {self.width}: give tie_embeddings as false, or leave "
                "embedding_width out"
            )
        return self

    @property
    def input_width(self) -> int:
        return self.embedding_width or self.width


class RnnArchitecture(_Recurrent):
    """A simple recurrent network (Elman 1990), with the hyperbolic tangent for its logistic function."""

    type: Literal["rnn"] = "rnn"


class LstmArchitecture(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000)."""

    type: Literal["lstm"] = "lstm"


class _LearnedPositions(Contract):
    """A Transformer with LayerNorm, biases everywhere and a vector for each position. It comes by import alone."""

    num_layers: Layers
    width: Width
    num_heads: Heads
    feed_forward_width: Width
    context_length: ContextLength
    dropout: Dropout
    activation: Literal["gelu", "gelu_tanh", "relu"] = Field(
        description="`gelu_tanh` is GELU by its tanh approximation (Hendrycks and Gimpel 2016)."
    )
    norm_epsilon: NormEpsilon

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        _check_heads(self.width, self.num_heads)
        return self


class Gpt2Architecture(_LearnedPositions):
    """A pre-norm decoder (Radford et al. 2019)."""

    type: Literal["gpt2"] = "gpt2"
    tie_embeddings: bool


class BertArchitecture(_LearnedPositions):
    """A post-norm encoder (Devlin et al. 2018). All tokens are read as of the first type, that of single texts."""

    type: Literal["bert"] = "bert"
    num_token_types: Annotated[int, Field(ge=1, le=1_024)]
    tie_embeddings: Literal[True] = True


#: What can be pretrained to tell the next token, and what tells it.
LanguageArchitecture = TransformerArchitecture | LstmArchitecture | RnnArchitecture
CausalArchitecture = LanguageArchitecture | Gpt2Architecture
#: What tells hidden tokens.
MaskedArchitecture = TransformerArchitecture | BertArchitecture
#: Made of equal blocks, one on the other, whose results can be computed again one block at a time.
BlockArchitecture = TransformerArchitecture | Gpt2Architecture | BertArchitecture
#: What reads text as tokens, one vector a token.
TextArchitecture = CausalArchitecture | BertArchitecture | SkipgramArchitecture


class MlpArchitecture(Contract):
    """Fully connected ReLU layers; the hidden widths from the input on."""

    type: Literal["mlp"] = "mlp"
    hidden_widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=256, strict=False, fail_fast=True)] = (
        128,
        64,
    )
    dropout: Dropout = 0.0


class ConvArchitecture(Contract):
    """Strided 3x3 convolutions over images; each entry of `channels` halves height and width."""

    type: Literal["conv"] = "conv"
    channels: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16, strict=False, fail_fast=True)] = (16, 32)
    dropout: Dropout = 0.0


def _check_heads(width: int, num_heads: int) -> None:
    if width % num_heads:
        raise ValueError(f"width {width} is not divisible by num_heads {num_heads}")
