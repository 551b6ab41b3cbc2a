"""Words tagged: parts of speech of English sentences of the web, and names in tweets.

The parent is a masked language model of the same sentences without their tags. For comparison, each word with its most
frequent tag of the training data, and words that those never show with the most frequent tag of such.

    OMP_NUM_THREADS=2 QUALITY_DATA=folder python -m benchmarks.quality.tagged_words [fast | full]
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

from app.contract.messages import DatasetInput
from app.contract.tags import mended
from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Json, Trained, predict
from benchmarks.quality.corpora import Sides, Tagged
from benchmarks.quality.rows import Measured, Row, run_alone
from worker.methods.tagging import span_f1, word_accuracy

POINTS_ABOVE_THE_BASELINE = 0.03


def english_model(bench: Bench) -> Trained:
    """A masked language model of sentences of the web."""
    method = {
        "type": "masked_language_model",
        "architecture": {"type": "transformer", "num_layers": 2, "width": 128, "num_heads": 4, "context_length": 128},
        "tokenizer": {"type": "bpe", "vocab_size": 4096},
    }
    training = {"duration": bench.steps(1_500), "validation_fraction": 0.02}
    return bench.train({"kind": "pretrain", "method": method, "training": training}, english_text(bench))


def english_text(bench: Bench) -> DatasetInput:
    sentences = corpora.parts_of_speech().training
    return bench.lines("english", [{"text": " ".join(tokens)} for tokens, _ in sentences], "text")


def tagger(bench: Bench, name: str, sentences: Sequence[Tagged], method: Json, training: Json) -> Trained:
    data = bench.lines(name, [each._asdict() for each in sentences], "tagged_tokens")
    spec = {"kind": "finetune", "method": {"type": "sequence_labeling"} | method, "training": training}
    return bench.train(spec, data, english_model(bench))


def parts_of_speech(bench: Bench) -> Measured:
    sides = corpora.parts_of_speech()
    trained = tagger(bench, "parts-of-speech", sides.training, {}, {"duration": bench.epochs(3.0)})
    given = [tags for _, tags in sides.judged]
    baseline = word_accuracy(given, most_frequent_tags(sides))
    score = word_accuracy(given, _told(trained, sides.judged))
    return Measured(trained, score, baseline, baseline + POINTS_ABOVE_THE_BASELINE)


def names(bench: Bench) -> Measured:
    """By strict spans. All tweets train, and the last weights are the model: names are so few that the loss of words is
    lowest long before they are learned.
    """
    sides = corpora.tweets()
    training = {"duration": bench.epochs(10.0), "validation_fraction": 0.0}
    trained = tagger(bench, "tweets", sides.training, {"crf": True}, training)
    given = [mended(tags) for _, tags in sides.judged]
    baseline = span_f1(given, [mended(tags) for tags in most_frequent_tags(sides)])
    return Measured(trained, span_f1(given, _told(trained, sides.judged)), baseline, baseline)


def most_frequent_tags(sides: Sides[Tagged]) -> list[list[str]]:
    """Told of the judged sentences."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for tokens, tags in sides.training:
        for token, tag in zip(tokens, tags, strict=True):
            counts[token][tag] += 1
    rare = sum((each for each in counts.values() if each.total() == 1), Counter[str]())
    return [[(counts.get(token) or rare).most_common(1)[0][0] for token in tokens] for tokens, _ in sides.judged]


def _told(trained: Trained, sentences: Sequence[Tagged]) -> list[list[str]]:
    return [output["tags"] for output in predict(trained, [{"tokens": tokens} for tokens, _ in sentences])]


ROWS = (
    Row(
        "parts-of-speech",
        "sequence_labeling from masked_language_model",
        "UD English-EWT",
        "accuracy",
        "most frequent tags",
        parts_of_speech,
    ),
    Row(
        "names",
        "sequence_labeling with a CRF from masked_language_model",
        "names in tweets",
        "strict span F1",
        "most frequent tags",
        names,
    ),
)

if __name__ == "__main__":
    run_alone(ROWS)
