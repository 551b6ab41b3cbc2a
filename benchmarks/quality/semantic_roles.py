"""Semantic roles of English sentences of the web (Universal Decompositional Semantics 2.0), from every kind of parent.

Judged by the F1 of exact arguments: the right role, start and end; the predicate itself does not count. For comparison,
a token-wise logistic regression over words, parts of speech and the distance from the predicate has 0.307, and a
bidirectional LSTM from scratch 0.407. The parents have read the sentences of the treebank without their roles.

    OMP_NUM_THREADS=2 QUALITY_DATA=folder python -m benchmarks.quality.semantic_roles [fast | full]
"""

from collections.abc import Callable
from functools import partial

from app.contract.tags import arguments
from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Json, Trained, predict
from benchmarks.quality.rows import Measured, Row, run_alone
from benchmarks.quality.tagged_words import english_model, english_text
from worker.methods.tagging import span_f1

LOGISTIC_REGRESSION_F1 = 0.307
F1_ASKED = 0.38


def _pretrained(method: Json, bench: Bench) -> Trained:
    training = {"duration": bench.steps(600), "validation_fraction": 0.02}
    return bench.train({"kind": "pretrain", "method": method, "training": training}, english_text(bench))


def _language_model(architecture: Json) -> Callable[[Bench], Trained]:
    shape = {"num_layers": 2, "width": 128, "context_length": 128} | architecture
    tokenizer = {"type": "bpe", "vocab_size": 4096}
    return partial(_pretrained, {"type": "causal_language_model", "architecture": shape, "tokenizer": tokenizer})


PARENTS: dict[str, Callable[[Bench], Trained]] = {
    "masked_language_model": english_model,
    "transformer": _language_model({"type": "transformer", "num_heads": 4}),
    "lstm": _language_model({"type": "lstm"}),
    "word2vec": partial(_pretrained, {"type": "word2vec", "tokenizer": {"type": "word", "min_count": 2}}),
}


def measured(parent: str, bench: Bench) -> Measured:
    sides = corpora.propositions()
    data = bench.lines("roles", [each._asdict() for each in sides.training], "semantic_roles")
    spec = {
        "kind": "finetune",
        "method": {"type": "semantic_role_labeling"},
        "training": {"duration": bench.epochs(5.0)},
    }
    trained = bench.train(spec, data, PARENTS[parent](bench))
    questions = [{"tokens": each.tokens, "predicate": each.predicate} for each in sides.judged]
    told = [output["roles"] for output in predict(trained, questions)]
    score = span_f1([each.roles for each in sides.judged], told, arguments)
    return Measured(trained, score, LOGISTIC_REGRESSION_F1, F1_ASKED if parent == "masked_language_model" else None)


ROWS = tuple(
    Row(
        f"semantic-roles-from-{parent.replace('_', '-')}",
        f"semantic_role_labeling from {parent}",
        "UDS 2.0",
        "exact F1 of arguments",
        "logistic regression",
        partial(measured, parent),
    )
    for parent in PARENTS
)

if __name__ == "__main__":
    run_alone(ROWS)
