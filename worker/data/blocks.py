"""Text in blocks: cut between words, and sampled from all over a stream. Knows no data set and no tokenizer."""

import re
from collections.abc import Iterable, Iterator

SAMPLE_BYTES = 64_000_000
BLOCK_CHARACTERS = 8_192
_LONGEST_BLOCK = 16 * BLOCK_CHARACTERS

#: Every tokenizer of ours starts a new word here, whatever stands around: a text cut at such places has the same tokens
#: as the whole.
_WORD_START = re.compile(r"[\n ](?=\S)")


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
