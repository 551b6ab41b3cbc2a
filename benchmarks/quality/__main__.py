"""`python -m benchmarks.quality [fast | full]`: all rows, in order; `make quality-fast` and `make quality` write their
table to docs/."""

import sys

from benchmarks.quality import (
    diabetes,
    digits,
    glosses,
    language_models,
    reviews,
    semantic_roles,
    tagged_words,
    word_vectors,
)
from benchmarks.quality.runner import run

MODULES = (language_models, word_vectors, digits, diabetes, reviews, glosses, tagged_words, semantic_roles)
ROWS = [row for module in MODULES for row in module.ROWS]

if __name__ == "__main__":
    sys.exit(run(ROWS, sys.argv[1:]))
