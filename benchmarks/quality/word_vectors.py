"""Neighbors of words in Shakespeare's plays, by word vectors and by counted co-occurrence.

Words stand near each other in both where they keep the same company: counted, that is the cosine of their rows of
positive pointwise mutual information (Levy and Goldberg 2014: what negative sampling factorises). Of a word's ten
nearest by counts, the share that is among its ten nearest by vectors is told, beside that of random vectors.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.word_vectors [fast | full]
"""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Trained, predict
from benchmarks.quality.rows import Measured, Row, run_alone
from worker.data.tokenizers import words_of
from worker.export import load_model
from worker.models.skip_gram import Word2Vec

#: The most frequent words are compared, but for those that stand beside all others.
FIRST, LAST = 100, 2_000
WINDOW, NEAREST = 5, 10
TIMES_CHANCE = 10.0
PROBES = ("king", "love", "sword", "night", "father")


def word_vectors(bench: Bench) -> Trained:
    spec = {"kind": "pretrain", "method": {"type": "word2vec"}, "training": {"duration": bench.epochs(5.0)}}
    return bench.train(spec, bench.file("plays.txt", corpora.plays()[0], "text"))


def measured(bench: Bench) -> Measured:
    trained = word_vectors(bench)
    mine, chance = agreement(trained, corpora.plays()[0])
    neighbors = zip(PROBES, predict(trained, PROBES), strict=True)
    notes = [f"{probe}: {', '.join(each['word'] for each in output['neighbors'])}" for probe, output in neighbors]
    return Measured(trained, mine, chance, TIMES_CHANCE * chance, (*notes,))


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


def agreement(trained: Trained, text: str) -> tuple[float, float]:
    """Of the vectors and of random ones with the neighbors by counts."""
    loaded = load_model(trained.model)
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


ROWS = (
    Row(
        "word2vec",
        "word2vec",
        "Shakespeare",
        "of the nearest words by counts, told",
        "random vectors",
        measured,
    ),
)

if __name__ == "__main__":
    run_alone(ROWS)
