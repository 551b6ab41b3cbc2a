"""Plain text as one long array of tokens: read as a stream, tokenised once, kept in the cache, mapped into memory.

Documents stand one behind the other, each after a begin token; a .txt file is one document.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.contract.messages import DatasetInput
from app.contract.specs.tokenizers import TokenizerSpec
from app.records import read_text
from worker.data.blocks import blocks_of, evenly_spaced
from worker.data.cache import cached_file
from worker.data.failures import BadData
from worker.data.tokenizers import begin_token, learn_tokenizer, parse_tokenizer, tokenizer_digest, unknown_token

Tokens = NDArray[np.unsignedinteger[Any]]

#: Part of every key: changed with anything that changes what a cached file holds.
_FORMAT = 1
#: Characters tokenised at a time: work for all cores; an encoding holds some 100 bytes a token until it is an array.
_CHUNK_CHARACTERS = 500_000
#: Tokens counted at a time: a count makes 64-bit integers of them.
_COUNTED_TOKENS = 1 << 24
_TELL_EVERY_TOKENS = 20_000_000


def learned_tokenizer(
    dataset: DatasetInput, spec: TokenizerSpec, cache_dir: Path, log: Callable[[str], None]
) -> Tokenizer:
    """The tokenizer that the data set teaches."""

    def write(file: BinaryIO) -> None:
        sample = evenly_spaced(chain.from_iterable(_documents(dataset)))
        if not sample:
            raise BadData("The data set holds no text.")
        tokenizer = learn_tokenizer(sample, spec)
        log(f"Learned a tokenizer of {tokenizer.get_vocab_size():,} tokens.")
        file.write(tokenizer.to_str().encode())

    key = _key("tokenizer", dataset, spec.model_dump_json())
    with cached_file(cache_dir, "tokenizers", f"{key}.json", write) as file:
        return parse_tokenizer(file.read().decode())


def tokenised(dataset: DatasetInput, tokenizer: Tokenizer, cache_dir: Path, log: Callable[[str], None]) -> Tokens:
    """The data set in tokens, mapped read-only: uint16 or uint32 [N], begin tokens included."""
    dtype: np.dtype[np.unsignedinteger[Any]] = np.dtype(
        np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    )

    unknown = unknown_token(tokenizer)

    def write(file: BinaryIO) -> None:
        num_tokens, num_unknown, told = 0, 0, 0
        for tokens in _tokenise(_documents(dataset), tokenizer, dtype):
            tokens.tofile(file)
            num_tokens += len(tokens)
            num_unknown += 0 if unknown is None else int((tokens == unknown).sum())
            if num_tokens - told >= _TELL_EVERY_TOKENS:
                told = num_tokens
                log(f"Tokenised {num_tokens:,} tokens so far.")
        log(f"Tokenised the text: {num_tokens:,} tokens{_told(num_unknown, num_tokens)}.")

    key = _key("tokens", dataset, tokenizer_digest(tokenizer))
    with cached_file(cache_dir, "tokens", f"{key}.bin", write) as file:
        if not os.fstat(file.fileno()).st_size:
            raise BadData("The data set holds no text.")
        return np.memmap(file, dtype=dtype, mode="r")


def token_counts(tokens: Tokens, vocab_size: int) -> NDArray[np.int64]:
    """How often each token occurs: int64 [V]"""
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, len(tokens), _COUNTED_TOKENS):
        counts += np.bincount(tokens[start : start + _COUNTED_TOKENS], minlength=vocab_size)
    return counts


def _told(num_unknown: int, num_tokens: int) -> str:
    """A tokenizer that knows too little makes a text look easy: whoever reads the loss should know."""
    return f", {num_unknown / num_tokens:.2%} of them unknown" if num_unknown else ""


def _documents(dataset: DatasetInput) -> Iterator[Iterator[str]]:
    """Each document as its blocks, without those that are empty."""
    pieces = read_text(dataset.path, dataset.filename, dataset.columns)
    if dataset.filename.lower().endswith(".txt"):
        yield blocks_of(pieces)
    else:
        for text in pieces:
            if text:
                yield blocks_of([text])


def _tokenise(
    documents: Iterable[Iterable[str]], tokenizer: Tokenizer, dtype: np.dtype[np.unsignedinteger[Any]]
) -> Iterator[Tokens]:
    begin = [begin_token(tokenizer)]
    for chunk in _chunks(documents):
        encodings = tokenizer.encode_batch_fast([block for block, _ in chunk], add_special_tokens=False)
        parts = [
            np.array(begin + encoding.ids if opens else encoding.ids, dtype=dtype)
            for encoding, (_, opens) in zip(encodings, chunk, strict=True)
        ]
        yield np.concatenate(parts)


def _chunks(documents: Iterable[Iterable[str]]) -> Iterator[list[tuple[str, bool]]]:
    """Blocks to tokenise together, each with whether it opens a document."""
    chunk: list[tuple[str, bool]] = []
    characters = 0
    for document in documents:
        for number, block in enumerate(document):
            chunk.append((block, number == 0))
            characters += len(block)
            if characters >= _CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _key(content: str, dataset: DatasetInput, *parts: str) -> str:
    """The file's type and the columns decide, with the bytes, what is read."""
    suffix = Path(dataset.filename).suffix.lower()
    identity = [_FORMAT, content, dataset.sha256, suffix, sorted(dataset.columns.items()), *parts]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
