"""The word2vec text format: a line with two counts, then a word and its vector a line. gensim and many others read it.

Legend: N words, D width.
"""

from pathlib import Path

from torch import Tensor


def write_word_vectors(path: Path, words: list[str], vectors: Tensor) -> None:
    """words: without white space; vectors: float [N, D]. Seven digits bring a 32-bit float back to within its last."""
    line = " ".join(["%s"] + ["%.7g"] * vectors.shape[1]) + "\n"
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n")
        file.writelines(line % (word, *vector) for word, vector in zip(words, vectors.tolist(), strict=True))
