"""Film reviews of Rotten Tomatoes told good from bad, and by numbers, from every kind of text parent.

A thousand reviews judge that no job has seen. Beside each stands what TF-IDF tells: with logistic regression the label,
with ridge regression the number (1 for good, 0 for bad).

    OMP_NUM_THREADS=2 python -m benchmarks.quality.reviews [fast | full]

Needs scikit-learn (the `demo` extra).
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Trained, accuracy, predict
from benchmarks.quality.corpora import Labeled, Sides
from benchmarks.quality.language_models import language_model, masked_model, on_reviews
from benchmarks.quality.rows import Measured, Row, run_alone
from benchmarks.quality.word_vectors import word_vectors

ACCURACY_ASKED = 0.68
R2_ASKED = 0.1

PARENTS: dict[str, Callable[[Bench], Trained]] = {
    "transformer": language_model,
    "transformer, continued on reviews": lambda bench: on_reviews(bench, language_model(bench)),
    "lstm": partial(language_model, architecture="lstm"),
    "masked_language_model": masked_model,
    "word2vec": word_vectors,
}
#: The one that has read reviews is the best: what is asked for is asked of it.
BEST = "transformer, continued on reviews"


def classification(parent: str, bench: Bench) -> Measured:
    reviews = corpora.rotten_tomatoes()
    data = bench.lines("reviews-labeled", [each._asdict() for each in reviews.training], "labeled_text")
    training = {
        "duration": bench.epochs(2.0),
        "optimizer": {"type": "adamw", "learning_rate": 1e-3},
        "schedule": {"type": "cosine", "warmup_steps": 20},
    }
    spec = {"kind": "finetune", "method": {"type": "classification"}, "training": training}
    trained = bench.train(spec, data, PARENTS[parent](bench))
    score = accuracy(trained, *_columns(reviews.judged))
    return Measured(trained, score, tf_idf_accuracy(), ACCURACY_ASKED if parent == BEST else None)


def regression(bench: Bench) -> Measured:
    from sklearn.metrics import r2_score  # noqa: PLC0415

    reviews = corpora.rotten_tomatoes()
    records = [{"text": each.text, "target": float(each.label)} for each in reviews.training]
    training = {"duration": bench.epochs(2.0)}
    spec = {"kind": "finetune", "method": {"type": "regression"}, "training": training}
    trained = bench.train(spec, bench.lines("reviews-scored", records, "scored_text"), PARENTS[BEST](bench))
    texts, labels = _columns(reviews.judged)
    estimates = [output["value"] for output in predict(trained, texts)]
    return Measured(trained, float(r2_score([*map(float, labels)], estimates)), tf_idf_r2(), R2_ASKED)


@cache
def tf_idf_accuracy() -> float:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    return tf_idf_score(LogisticRegression(max_iter=1_000), corpora.rotten_tomatoes(), str)


@cache
def tf_idf_r2() -> float:
    from sklearn.linear_model import Ridge  # noqa: PLC0415

    return tf_idf_score(Ridge(), corpora.rotten_tomatoes(), float)


def tf_idf_score(estimator: Any, texts: Sides[Labeled], answer: Callable[[str], Any]) -> float:
    """Of an estimator over TF-IDF of words and pairs of them."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415  an extra
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415

    told = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), estimator)
    (training, labels), (judged, wanted) = _columns(texts.training), _columns(texts.judged)
    return float(told.fit(training, [*map(answer, labels)]).score(judged, [*map(answer, wanted)]))


def _columns(examples: Sequence[Labeled]) -> tuple[list[str], list[str]]:
    return [each.text for each in examples], [each.label for each in examples]


ROWS = (
    *(
        Row(
            f"classification-of-reviews-from-{parent.replace(', ', '-').replace(' ', '-').replace('_', '-')}",
            f"classification from {parent}",
            "Rotten Tomatoes",
            "accuracy",
            "TF-IDF",
            partial(classification, parent),
        )
        for parent in PARENTS
    ),
    Row("regression-of-reviews", f"regression from {BEST}", "Rotten Tomatoes", "R2", "TF-IDF", regression),
)

if __name__ == "__main__":
    run_alone(ROWS)
