"""The demo: upload, pretrain, fine-tune from the parent, ask both. Every step shows the curl line for it."""

import json
import math
import shlex
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.client.demo_data import DemoData, Review, write_demo_data
from app.client.demo_jobs import finetune_spec, pretrain_spec
from app.client.progress import follow_with_progress
from pretune import Client, Dataset, Job, Model
from pretune.views import Json

READY_SECONDS = 10.0
#: A request holds so many characters of the held-back text, or so many reviews.
TEXT_PIECE_CHARACTERS = 5_000
REVIEWS_A_REQUEST = 50
REVIEWS_SHOWN = 4
PROMPT = "KING HENRY"
SAMPLING = {"max_tokens": 60, "temperature": 0.8, "seed": 1}


class Demo:
    """`folder` receives the data files and job bodies, so that the printed curl lines work as they stand."""

    def __init__(self, client: Client, folder: Path, console: Console) -> None:
        self._client = client
        self._folder = folder
        self._console = console

    def run(self) -> Json:
        """The addresses of what was made, and how well it does on what no job has seen."""
        self._client.wait_until_ready(READY_SECONDS)
        data = write_demo_data(self._folder)
        plays, reviews = self._upload(data)
        pretrain, finetune = self._create_jobs(plays.id, reviews.id)
        self._step("Watch both; the second waits for the first")
        self._curl(f"/v1/jobs/{pretrain.id}/events", "-N", "-H", "Accept: text/event-stream")
        language_model = follow_with_progress(pretrain, self._console).model()
        classifier = follow_with_progress(finetune, self._console).model()
        results = self._ask(language_model, classifier, data)
        self._addresses(pretrain.id, finetune.id, language_model.id, classifier.id)
        return {"language_model": language_model.id, "classifier": classifier.id, **results}

    def _upload(self, data: DemoData) -> tuple[Dataset, Dataset]:
        self._step("Upload the plays of Shakespeare, and film reviews")
        self._curl("/v1/datasets", "-F", f"file=@{data.plays}", "-F", "kind=text")
        plays = self._client.datasets.upload(data.plays, kind="text")
        columns = {"text": "review", "label": "sentiment"}
        self._curl("/v1/datasets", "-F", f"file=@{data.reviews}", "-F", f"columns={json.dumps(columns)}")
        reviews = self._client.datasets.upload(data.reviews, columns=columns)
        self._say(f"{plays.profile['length']['max']:,} characters in {plays.id}")
        self._say(f"{reviews.num_examples:,} reviews in {reviews.id}")
        return plays, reviews

    def _create_jobs(self, plays: str, reviews: str) -> tuple[Job, Job]:
        self._step("Pretrain a language model on the plays")
        pretrain = self._create_job("pretrain.json", pretrain_spec(plays))
        self._step("Fine-tune it to judge reviews: the second job names the first as its parent")
        finetune = self._create_job("finetune.json", finetune_spec(reviews, pretrain.id))
        return pretrain, finetune

    def _create_job(self, filename: str, spec: Json) -> Job:
        body = self._folder / filename
        body.write_text(json.dumps(spec, indent=2) + "\n")
        self._curl("/v1/jobs", "-H", "Content-Type: application/json", "-d", f"@{body}")
        return self._client.jobs.create(spec)

    def _ask(self, language_model: Model, classifier: Model, data: DemoData) -> Json:
        self._step("Ask the language model")
        self._curl_json(f"/v1/models/{language_model.id}/generate", {"prompt": PROMPT, "parameters": SAMPLING})
        written = language_model.generate(PROMPT, **SAMPLING)
        self._console.print(f"  [italic]{escape(PROMPT + written.text)}[/]", highlight=False)
        bits = self._bits_per_character(language_model, data.held_back_text)
        letters = bits_by_letter_counts(data.plays.read_text(encoding="utf-8"), data.held_back_text)
        self._say(
            f"{bits:.2f} bits per character on {len(data.held_back_text):,} that it never saw "
            f"({letters:.2f} by letter counts alone)"
        )
        self._step("Ask the classifier")
        shown = data.held_back_reviews[:REVIEWS_SHOWN]
        self._curl_json(f"/v1/models/{classifier.id}/predict", {"inputs": [review.text for review in shown]})
        self._show(classifier, shown)
        accuracy, majority = self._accuracy(classifier, data.held_back_reviews), share_of_majority(data)
        self._say(
            f"{accuracy:.1%} right on {len(data.held_back_reviews):,} reviews that it never saw "
            f"({majority:.1%} by always saying the same)"
        )
        return {
            "bits_per_character": bits,
            "bits_per_character_by_letter_counts": letters,
            "accuracy": accuracy,
            "accuracy_of_majority": majority,
        }

    def _bits_per_character(self, model: Model, text: str) -> float:
        pieces = [text[at : at + TEXT_PIECE_CHARACTERS] for at in range(0, len(text), TEXT_PIECE_CHARACTERS)]
        scores = [model.predict([piece])[0] for piece in pieces]
        nats = -sum(score["log_likelihood"] for score in scores)
        bits: float = nats / math.log(2) / sum(score["num_characters"] for score in scores)
        return bits

    def _accuracy(self, model: Model, reviews: tuple[Review, ...]) -> float:
        right = 0
        for at in range(0, len(reviews), REVIEWS_A_REQUEST):
            some = reviews[at : at + REVIEWS_A_REQUEST]
            outputs = model.predict([review.text for review in some])
            right += sum(output["label"] == review.label for output, review in zip(outputs, some, strict=True))
        return right / len(reviews)

    def _show(self, model: Model, reviews: tuple[Review, ...]) -> None:
        table = Table("review", "author", "model", box=None, pad_edge=False)
        outputs = model.predict([review.text for review in reviews])
        for review, output in zip(reviews, outputs, strict=True):
            table.add_row(escape(review.text[:80]), review.label, f"{output['label']} ({output['score']:.2f})")
        self._console.print(table)

    def _addresses(self, pretrain: str, finetune: str, language_model: str, classifier: str) -> None:
        url = self._client.url
        self._step("All of it is still there")
        for address in (
            f"{url}/docs",
            f"{url}/v1/jobs/{pretrain}",
            f"{url}/v1/jobs/{finetune}",
            f"{url}/v1/models/{language_model}",
            f"{url}/v1/models/{classifier}/lineage",
        ):
            self._console.print(f"  {address}", soft_wrap=True)

    def _step(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/]")

    def _say(self, text: str) -> None:
        self._console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    def _curl_json(self, path: str, body: Json) -> None:
        self._curl(path, "-H", "Content-Type: application/json", "-d", json.dumps(body))

    def _curl(self, path: str, *options: str) -> None:
        """The line works as it stands in a shell; a key is told as the variable that holds it."""
        key = ' -H "Authorization: Bearer $PRETUNE_API_KEY"' if self._client.has_key else ""
        line = f"curl {self._client.url}{path}{key} {shlex.join(options)}"
        self._console.print(f"  [dim]$ {escape(line)}[/]", soft_wrap=True, highlight=False)


def bits_by_letter_counts(taught: str, judged: str) -> float:
    """Bits per character of a model that knows how frequent each character is, and nothing else."""
    counts = Counter(taught)
    known = len(counts) + 1  # one more for whatever was never seen
    nats = -sum(
        n * math.log((counts[character] + 1) / (len(taught) + known)) for character, n in Counter(judged).items()
    )
    return nats / math.log(2) / len(judged)


def share_of_majority(data: DemoData) -> float:
    labels = Counter(review.label for review in data.held_back_reviews)
    return max(labels.values()) / labels.total()
