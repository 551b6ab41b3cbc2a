"""Byte-level byte-pair encoding, and words: learned from a sample of the text, saved as a stock tokenizer.json.

Knows no data set and no model. Any text can be written in bytes, since every one is a token.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

#: Opens every text, and ends the one before it.
BEGIN_TOKEN = "<|begin|>"  # noqa: S105  no password
PADDING_TOKEN = "<|pad|>"  # noqa: S105  no password
#: Stands where a masked language model is to tell what stood there.
MASK_TOKEN = "[MASK]"  # noqa: S105  no password

#: Any word that is too rare.
UNKNOWN_TOKEN = "<|unknown|>"  # noqa: S105  no password

#: A word with the apostrophes inside it (either of two), or one mark of punctuation.
_LETTER = r"[\p{L}\p{M}\p{N}]"
_WORD = rf"{_LETTER}+(?:['\x{{2019}}]{_LETTER}+)*|[^\s\p{{L}}\p{{M}}\p{{N}}]"

SAMPLE_BYTES = 64_000_000
BLOCK_CHARACTERS = 8_192
_LONGEST_BLOCK = 16 * BLOCK_CHARACTERS

#: Byte-level pre-tokenization starts a new word here, whatever stands around: a text cut at such places has the same
#: tokens as the whole.
_WORD_START = re.compile(r"[\n ](?=\S)")


def learn_bpe(blocks: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn merges (Sennrich et al. 2016) from blocks of text. A small text gives fewer tokens than asked for."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN_TOKEN, PADDING_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return parse_tokenizer(tokenizer.to_str())


def learn_words(blocks: Iterable[str], vocab_size: int, min_count: int, *, lowercase: bool) -> Tokenizer:
    """The most frequent words, in order of their frequency."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN_TOKEN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "removed", invert=True)
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        special_tokens=[BEGIN_TOKEN, PADDING_TOKEN, UNKNOWN_TOKEN],
        show_progress=False,
    )
    tokenizer.train_from_iterator(blocks, trainer)
    return parse_tokenizer(tokenizer.to_str())


def with_mask(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer and MASK_TOKEN, its last. Tools that read the file open a text by the begin token, and take the
    space before a mask for a part of what is masked, as it is with byte-level pairs."""
    made = Tokenizer.from_str(tokenizer.to_str())
    made.add_special_tokens([AddedToken(MASK_TOKEN, lstrip=is_byte_level(made), normalized=False, special=True)])
    opened = f"{BEGIN_TOKEN} $A"
    made.post_processor = processors.TemplateProcessing(
        single=opened, pair=f"{opened} $B:1", special_tokens=[(BEGIN_TOKEN, begin_token(made))]
    )
    return parse_tokenizer(made.to_str())


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether a word's token holds the space before it."""
    return isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)


def special_tokens(tokenizer: Tokenizer) -> list[int]:
    """Those that stand for no text of their own."""
    return [token for token, content in tokenizer.get_added_tokens_decoder().items() if content.special]


def words_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Every token that is no special one, with its number, ascending by that."""
    special = {*special_tokens(tokenizer)}
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return {word: number for word, number in vocabulary if number not in special}


def load_tokenizer(path: Path) -> Tokenizer:
    return parse_tokenizer(path.read_text(encoding="utf-8"))


def parse_tokenizer(content: str) -> Tokenizer:
    """A tokenizer that takes the names of special tokens in a user's text for text."""
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = True
    return tokenizer


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


def begin_token(tokenizer: Tokenizer) -> int:
    token = tokenizer.token_to_id(BEGIN_TOKEN)
    assert token is not None, f"every tokenizer of ours has {BEGIN_TOKEN}"
    return int(token)


def mask_token(tokenizer: Tokenizer) -> int:
    token = tokenizer.token_to_id(MASK_TOKEN)
    assert token is not None, f"{MASK_TOKEN} comes with with_mask()"
    return int(token)


def token_characters(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """How many characters each token writes, int64 [V]: the bytes that begin one in UTF-8. Special tokens: none."""
    begins = {symbol: not 0x80 <= byte < 0xC0 for byte, symbol in _byte_symbols().items()}
    characters = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for token, index in tokenizer.get_vocab().items():
        if token not in (BEGIN_TOKEN, PADDING_TOKEN, MASK_TOKEN):
            characters[index] = sum(begins[symbol] for symbol in token)
    return characters


def blocks_of(pieces: Iterable[str]) -> Iterator[str]:
    """Cut one document, whose pieces concatenate to the whole, into blocks of some 8,000 characters between words."""
    rest = ""
    for piece in pieces:
        rest += piece
        start = 0
        while (end := _block_end(rest, start)) is not None:
            yield rest[start:end]
            start = end
        rest = rest[start:]
    if rest:
        yield rest


def evenly_spaced(blocks: Iterable[str], limit_bytes: int = SAMPLE_BYTES) -> list[str]:
    """A sample from all over a stream of any length, in one pass: every 2^k-th block, k as small as the limit lets."""
    kept: list[str] = []
    held_bytes, stride = 0, 1
    for number, block in enumerate(blocks):
        if number % stride:
            continue
        kept.append(block)
        held_bytes += len(block.encode())
        while held_bytes > limit_bytes and len(kept) > 1:
            kept, stride = kept[::2], 2 * stride
            held_bytes = sum(len(block.encode()) for block in kept)
    return kept


def _block_end(text: str, start: int) -> int | None:
    """None where more text is needed to tell."""
    if len(text) - start <= BLOCK_CHARACTERS:
        return None
    if word := _WORD_START.search(text, start + BLOCK_CHARACTERS, start + _LONGEST_BLOCK):
        return word.start()
    return start + _LONGEST_BLOCK if len(text) - start > _LONGEST_BLOCK else None


def _byte_symbols() -> dict[int, str]:
    """The printable character that stands for each byte in byte-level tokens (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + place) for place, byte in enumerate(others)}
