"""Texts with an answer each (a label or a target), tokenised once with the parent's tokenizer and kept in the cache.

The tokens are written as they come and mapped into memory; what is held for each text is a few numbers.

Legend: N texts.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.contract.messages import DatasetInput
from app.records import DatasetKind, LabeledText, ScoredText, read_examples
from worker.data.cache import cached_file
from worker.data.examples import DataSet, TextExamples
from worker.data.labels import CodedLabels
from worker.data.splits import content_keys
from worker.data.tokenizers import Frame, tokenizer_digest

#: Part of every key: changed with anything that changes what a cached file holds.
_FORMAT = 1
#: Characters tokenised at a time: work for all cores; an encoding holds some 100 bytes a token until it is an array.
_CHUNK_CHARACTERS = 500_000
_POSITION = np.dtype(np.int64)


def read_answered_text(
    dataset: DatasetInput, tokenizer: Tokenizer, max_tokens: int, cache_dir: Path, log: Callable[[str], None]
) -> DataSet:
    """Each text in its frame, and cut so that both are `max_tokens` at most."""

    def write(file: BinaryIO) -> None:
        _write(file, dataset, tokenizer, max_tokens)
        log(f"Tokenised {dataset.filename}.")

    name = f"{_key(dataset, tokenizer, max_tokens)}.bin"
    with cached_file(cache_dir, "answered-text", name, write) as file:
        return _read(file, _dtype(tokenizer))


def _texts(dataset: DatasetInput) -> Iterator[LabeledText | ScoredText]:
    for example in read_examples(dataset.path, dataset.filename, dataset.kind, dataset.columns):
        assert isinstance(example, LabeledText | ScoredText), f"{dataset.kind} has no answers"
        yield example


def _write(file: BinaryIO, dataset: DatasetInput, tokenizer: Tokenizer, max_tokens: int) -> None:
    """The tokens; behind them offsets, keys and answers as .npy; last, where those begin."""
    frame, dtype = Frame(tokenizer), _dtype(tokenizer)
    lengths, keys = [], []
    for texts in _chunks(each.text for each in _texts(dataset)):
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        rows = [np.array(frame.around(encoding.ids, max_tokens), dtype) for encoding in encodings]
        np.concatenate(rows).tofile(file)
        lengths.append(np.array([len(row) for row in rows]))
        keys.append(content_keys(text.encode() for text in texts))
    end_of_tokens = file.tell()
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    for array in (offsets, np.concatenate(keys), *_answers(dataset)):
        np.save(file, array)
    file.write(np.array(end_of_tokens, _POSITION).tobytes())


def _answers(dataset: DatasetInput) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Codes int64 [N] and the names of labels as JSON, or targets float32 [N, 1] and none. Read in a second pass: that
    costs little beside tokenising, and no answer has to stay in memory as an object."""
    if dataset.kind == DatasetKind.SCORED_TEXT:
        targets = (each.target[0] for each in _texts(dataset) if isinstance(each, ScoredText))
        return np.fromiter(targets, np.float32)[:, None], np.empty(0, np.uint8)
    labels = CodedLabels.of(each.label for each in _texts(dataset) if isinstance(each, LabeledText))
    return labels.codes, np.frombuffer(json.dumps(labels.names).encode(), np.uint8)


def _read(file: BinaryIO, dtype: np.dtype[Any]) -> DataSet:
    file.seek(-_POSITION.itemsize, SEEK_END)
    end_of_tokens = int(np.frombuffer(file.read(), _POSITION)[0])
    file.seek(end_of_tokens)
    offsets, keys, answers, names = (np.load(file) for _ in range(4))
    tokens = np.memmap(file, dtype, "r", shape=(end_of_tokens // dtype.itemsize,))
    examples = TextExamples(tokens, offsets)
    if not len(names):
        return DataSet(examples, keys, targets=answers)
    return DataSet(examples, keys, labels=CodedLabels(tuple(json.loads(names.tobytes())), answers))


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    characters = 0
    for text in texts:
        chunk.append(text)
        characters += len(text)
        if characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def _dtype(tokenizer: Tokenizer) -> np.dtype[Any]:
    return np.dtype(np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32)


def _key(dataset: DatasetInput, tokenizer: Tokenizer, max_tokens: int) -> str:
    """The file's type and the columns decide, with the bytes, what is read."""
    suffix = Path(dataset.filename).suffix.lower()
    columns = sorted(dataset.columns.items())
    identity = [_FORMAT, dataset.sha256, dataset.kind, suffix, columns, tokenizer_digest(tokenizer), max_tokens]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()
