"""The whole way once, as small as it goes: pretrain, fine-tune from the parent, ask both."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

from pretune import Client, Model, PretuneError
from pretune.views import Json

TEXT_CHARACTERS = 60_000
STEPS = 20

WIDTH = 32
ARCHITECTURE = {"type": "transformer", "num_layers": 1, "width": WIDTH, "num_heads": 2, "context_length": 32}
TRAINING = {
    "duration": {"steps": STEPS},
    "batch_size": 8,
    "optimizer": {"type": "adamw", "learning_rate": 0.003},
    "evaluate_every": {"steps": STEPS},
    "compile": False,
}
SUBJECTS = ("the soup", "our room", "this film", "her song", "the journey", "that book", "their garden", "my coat")
ADJECTIVES = {"good": ("lovely", "splendid", "delightful", "superb"), "bad": ("dreadful", "awful", "dismal", "dull")}


def run_smoke(client: Client, tell: Callable[[str], None]) -> Json:
    """What came out, as JSON. Raises where any step fails or an answer is not what it must be."""
    with tempfile.TemporaryDirectory(prefix="pretune-smoke-") as folder:
        text = client.datasets.upload(_text_file(Path(folder)), name="smoke text", kind="text")
        reviews = client.datasets.upload(_reviews_file(Path(folder)), name="smoke reviews", kind="labeled_text")
    tell(f"uploaded {text.id} and {reviews.id}")
    pretrain = client.jobs.create(_pretrain(text.id))
    finetune = client.jobs.create(_finetune(pretrain.id, reviews.id))
    tell(f"created {pretrain.id} and {finetune.id}, which is {finetune.status}")
    language_model, classifier = pretrain.wait().model(), finetune.wait().model()
    tell(f"trained {language_model.id} and {classifier.id}")
    answers = _ask(language_model, classifier)
    tell(f"asked both: {json.dumps(answers)}")
    return {"language_model": language_model.id, "classifier": classifier.id, **answers}


def _ask(language_model: Model, classifier: Model) -> Json:
    [score] = language_model.predict(["The sun rises in the east."])
    _expect(score["log_likelihood"] < 0 and score["num_tokens"] > 0, "a log-likelihood", score)
    [judgement] = classifier.predict(["the soup was superb"])
    _expect(judgement["label"] in ADJECTIVES, f"one of the labels {sorted(ADJECTIVES)}", judgement)
    written = language_model.generate("The", max_tokens=8, seed=1)
    _expect(0 < written.num_tokens <= 8, "up to 8 tokens", written.model_dump())
    [embedding] = language_model.embed(["The sun rises in the east."])
    _expect(len(embedding) == WIDTH, f"{WIDTH} numbers", {"embedding": embedding})
    return {"score": score, "judgement": judgement, "written": written.model_dump()}


def _expect(holds: bool, wanted: str, got: Json) -> None:
    if not holds:
        raise UnexpectedAnswer(f"expected {wanted}, got {json.dumps(got)}")


class UnexpectedAnswer(PretuneError):
    """The service answered, and not as it must."""


def _pretrain(dataset_id: str) -> Json:
    return {
        "kind": "pretrain",
        "name": "smoke language model",
        "dataset": dataset_id,
        "method": {
            "type": "causal_language_model",
            "architecture": ARCHITECTURE,
            "tokenizer": {"type": "bpe", "vocab_size": 300},
        },
        "training": TRAINING,
    }


def _finetune(parent: str, dataset_id: str) -> Json:
    return {
        "kind": "finetune",
        "name": "smoke classifier",
        "parent": parent,
        "dataset": dataset_id,
        "method": {"type": "classification"},
        "training": TRAINING,
    }


def _text_file(folder: Path) -> Path:
    path = folder / "manual.txt"
    path.write_text("\n".join(topics.values())[:TEXT_CHARACTERS])
    return path


def _reviews_file(folder: Path) -> Path:
    path = folder / "reviews.jsonl"
    records = (
        {"text": f"{subject} was {adjective}", "label": label}
        for label, adjectives in ADJECTIVES.items()
        for adjective in adjectives
        for subject in SUBJECTS
    )
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
