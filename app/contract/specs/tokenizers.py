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
