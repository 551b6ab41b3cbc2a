"""Tokenizers that a language model can learn from its data set."""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract


class BpeTokenizer(Contract):
    """Byte-level byte-pair encoding: no text is out of vocabulary, since every byte is a token."""

    type: Literal["bpe"] = "bpe"
    vocab_size: Annotated[
        int, Field(ge=260, le=1_000_000, description="Tokens to learn, the 256 bytes and the specials included.")
    ] = 2_048


class WordTokenizer(Contract):
    """Words and punctuation marks, each a token of its own; all that are too rare share one."""

    type: Literal["word"] = "word"
    vocab_size: Annotated[
        int, Field(ge=5, le=1_000_000, description="Tokens at most, the most frequent; the specials included.")
    ] = 30_000
    min_count: Annotated[int, Field(ge=1, le=1_000_000, description="Words seen less often are too rare.")] = 5
    lowercase: bool = True
