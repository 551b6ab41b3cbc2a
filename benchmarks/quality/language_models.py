"""Language models of Shakespeare's plays, judged on plays that they have not seen; and what goes on from one.

The causal ones have one budget: the same steps over the same tokens, each at the best of its rates that were tried. The
judged text is read in windows with half overlap, each token counted once, and bits are told for each character.

    OMP_NUM_THREADS=2 python -m benchmarks.quality.language_models [fast | full]
"""

import math
from functools import partial

from benchmarks.quality import corpora
from benchmarks.quality.bench import Bench, Json, Trained, predict
from benchmarks.quality.rows import Measured, Row, run_alone

#: An order-6 Witten-Bell character model fitted to 2 million characters.
CHARACTER_MODEL_BITS = 2.31
BITS_ASKED = {"fast": 2.2, "full": 2.0}
TIMES_THE_MOST_FREQUENT = 4.0
#: What is new must become clearly likelier: by a tenth of its bits, and of the nats of an answer.
CONTINUED_SHARE = TUNED_SHARE = 0.9

SHAPE: Json = {"num_layers": 2, "width": 192, "context_length": 128}
HEADS: Json = {"num_heads": 4}
#: Each the best of those tried over 300 steps, by doubling.
RATES = {"transformer": 3e-3, "lstm": 4e-2, "rnn": 1.6e-2}
TOKENIZER: Json = {"type": "bpe", "vocab_size": 2048}
PROBES = ("My lord, I will [MASK] thee.", "God save the [MASK]!", "What is thy [MASK]?")


def language_model(bench: Bench, architecture: str = "transformer") -> Trained:
    """Shakespeare's."""
    heads = HEADS if architecture == "transformer" else {}
    method = {
        "type": "causal_language_model",
        "architecture": {"type": architecture} | SHAPE | heads,
        "tokenizer": TOKENIZER,
    }
    training = {
        "duration": bench.steps(600),
        "optimizer": {"type": "adamw", "learning_rate": RATES[architecture]},
        "schedule": {"type": "cosine", "warmup_steps": 50},
        "validation_fraction": 0.02,
    }
    text, _ = corpora.plays()
    return bench.train(
        {"kind": "pretrain", "method": method, "training": training}, bench.file("plays.txt", text, "text")
    )


def masked_model(bench: Bench) -> Trained:
    method = {
        "type": "masked_language_model",
        "architecture": {"type": "transformer"} | SHAPE | HEADS,
        "tokenizer": TOKENIZER,
    }
    training = {
        "duration": bench.steps(1_500),
        "optimizer": {"type": "adamw", "learning_rate": 3e-3, "betas": (0.9, 0.98), "weight_decay": 0.01},
        "schedule": {"type": "linear", "warmup_steps": 50},
        "validation_fraction": 0.02,
    }
    text, _ = corpora.plays()
    return bench.train(
        {"kind": "pretrain", "method": method, "training": training}, bench.file("plays.txt", text, "text")
    )


def bits_per_character(trained: Trained, text: str) -> float:
    (output,) = predict(trained, [text])
    nats: float = -output["log_likelihood"]
    return nats / math.log(2) / len(text)


def causal(architecture: str, bench: Bench) -> Measured:
    trained = language_model(bench, architecture)
    bits = bits_per_character(trained, corpora.plays()[1])
    asked = BITS_ASKED[bench.profile.name] if architecture == "transformer" else None
    return Measured(trained, bits, CHARACTER_MODEL_BITS, asked)


def masked(bench: Bench) -> Measured:
    trained = masked_model(bench)
    judged = bench.file("judged-plays.txt", corpora.plays()[1], "text")
    told = bench.judged(trained, "masked_language_model", judged)
    baseline = told["most_frequent_token_accuracy"]
    guesses = zip(PROBES, predict(trained, PROBES), strict=True)
    notes = [f"{probe} {', '.join(each['token'].strip() for each in output['masks'][0])}" for probe, output in guesses]
    return Measured(trained, told["masked_accuracy"], baseline, TIMES_THE_MOST_FREQUENT * baseline, (*notes,))


def continued(bench: Bench) -> Measured:
    """From Shakespeare to film reviews, in his tokens."""
    parent = language_model(bench)
    reviews = corpora.long_reviews()
    judged = "\n\n".join(reviews.judged)
    trained = on_reviews(bench, parent)
    before = bits_per_character(parent, judged)
    return Measured(trained, bits_per_character(trained, judged), before, CONTINUED_SHARE * before)


def on_reviews(bench: Bench, parent: Trained) -> Trained:
    """A language model that has read film reviews too."""
    texts = bench.lines("reviews", [{"text": text} for text in corpora.long_reviews().training], "text")
    training = {"duration": bench.steps(400), "validation_fraction": 0.02}
    spec = {"kind": "finetune", "method": {"type": "causal_language_model"}, "training": training}
    return bench.train(spec, texts, parent)


def tuned(bench: Bench) -> Measured:
    """Judged by what an answer costs, where the question is one that training never asked."""
    sides = corpora.conversations()
    training, judged = (
        bench.lines(name, [{"prompt": question, "completion": answer} for question, answer in pairs], "instructions")
        for name, pairs in (("conversations", sides.training), ("judged-conversations", sides.judged))
    )
    parent = on_reviews(bench, language_model(bench))
    spec = {
        "kind": "finetune",
        "method": {"type": "instruction_tuning"},
        "training": {"duration": bench.epochs(3.0), "optimizer": {"learning_rate": 2e-4}},
    }
    trained = bench.train(spec, training, parent)
    before, after = (
        bench.judged(model, "instruction_tuning", judged)["validation_loss"] for model in (parent, trained)
    )
    return Measured(trained, after, before, TUNED_SHARE * before)


ROWS = (
    *(
        Row(
            f"causal-language-model-{architecture}",
            f"causal_language_model, {architecture}",
            "Shakespeare",
            "bits per character",
            "order-6 character model",
            partial(causal, architecture),
            better="less",
            worse=worse,
        )
        for architecture, worse in (
            ("transformer", "causal-language-model-lstm"),
            ("lstm", "causal-language-model-rnn"),
            ("rnn", None),
        )
    ),
    Row(
        "masked-language-model",
        "masked_language_model",
        "Shakespeare",
        "accuracy on hidden tokens",
        "most frequent token",
        masked,
    ),
    Row(
        "continued-pretraining",
        "causal_language_model, continued",
        "from Shakespeare to film reviews (IMDB)",
        "bits per character",
        "parent",
        continued,
        better="less",
    ),
    Row(
        "instruction-tuning",
        "instruction_tuning from causal_language_model",
        "conversations (ChatterBot)",
        "nats a token of an answer",
        "parent",
        tuned,
        better="less",
    ),
)

if __name__ == "__main__":
    run_alone(ROWS)
