"""Tokenizers that a language model can learn from its data set.

Decoding what was encoded gives the text back, but for the spaces and the case that `word` does not keep, and for what a
tokenizer does not know: that is one token, which reads as U+FFFD and counts as one character.
"""

from typing import Annotated, Literal

from pydantic import Field

from app.contract.base import Contract

MAX_VOCAB_SIZE = 1_000_000


class BpeTokenizer(Contract):
    """Byte-level byte-pair encoding (Sennrich et al. 2016): no text is unknown, since every byte is a token."""

    type: Literal["bpe"] = "bpe"
    vocab_size: Annotated[
        int, Field(ge=260, le=MAX_VOCAB_SIZE, description="Tokens to learn, the 256 bytes and the specials included.")
    ] = 2_048


class WordPieceTokenizer(Contract):
    """Words in pieces, the longest first; a piece within a word begins with ## (Schuster and Nakajima 2012, Devlin et
    al. 2018). A word with a character that was never seen is unknown."""

    type: Literal["wordpiece"] = "wordpiece"
    vocab_size: Annotated[
        int, Field(ge=64, le=MAX_VOCAB_SIZE, description="Tokens to learn, single characters and specials included.")
    ] = 2_048


class WordTokenizer(Contract):
    """Words and punctuation marks, each a token of its own; all that are too rare share one. Decoded, they stand with
    one space between any two."""

    type: Literal["word"] = "word"
    vocab_size: Annotated[
        int, Field(ge=5, le=MAX_VOCAB_SIZE, description="Tokens at most, the most frequent; the specials included.")
    ] = 30_000
    min_count: Annotated[int, Field(ge=1, le=1_000_000, description="Words seen less often are too rare.")] = 5
    lowercase: bool = True


class CharacterTokenizer(Contract):
    """Single characters; all but the most frequent are unknown."""

    type: Literal["character"] = "character"
    vocab_size: Annotated[
        int, Field(ge=8, le=MAX_VOCAB_SIZE, description="At most so many characters and specials.")
    ] = 256


TokenizerSpec = Annotated[
    BpeTokenizer | WordPieceTokenizer | WordTokenizer | CharacterTokenizer, Field(discriminator="type")
]
