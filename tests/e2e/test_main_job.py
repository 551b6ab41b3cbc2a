"""The main job, as a user does it: upload, pretrain, fine-tune from the parent, ask."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pretune import Client
from pretune.views import EventView
from tests.e2e.running import RunningService
from tests.e2e.specs import finetune, pretrain, reviews_file, text_file

#: A machine may be busy.
pytestmark = pytest.mark.timeout(400)


def submitted_by_hand(service: RunningService, spec: dict[str, Any]) -> dict[str, Any]:
    """By the command line, from its standard input."""
    command = [sys.executable, "-m", "app.cli", "submit", "-f", "-", "-y", "--detach", "--json", "--url", service.url]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=True)
    job: dict[str, Any] = json.loads(done.stdout)
    return job


def test_pretrain_then_finetune_then_ask(service: RunningService, client: Client, tmp_path: Path) -> None:
    text = client.datasets.upload(text_file(tmp_path), kind="text")
    reviews = client.datasets.upload(reviews_file(tmp_path))
    assert reviews.kind == "labeled_text"
    assert reviews.profile["labels"] == {"good": 20, "bad": 20}

    parent = client.jobs.get(submitted_by_hand(service, pretrain(text.id))["id"])
    child = client.jobs.create(finetune(parent.id, reviews.id))
    assert child.status == "waiting"

    events: list[EventView] = []
    language_model = parent.wait(on_event=events.append).model()
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    values = [event.data["values"] for event in events if event.type == "metrics"]
    losses = [at["train_loss"] for at in values if "train_loss" in at]
    assert losses[-1] < losses[0] < 1.1 * math.log(300)

    finished = child.wait()
    assert finished.parent_model_id == language_model.id

    texts = ["soup was superb today", "film was dismal today", "hat was splendid today"]
    outputs = finished.model().predict(texts)
    assert [output["label"] for output in outputs] == ["good", "bad", "good"]
    assert all(math.isclose(sum(output["scores"].values()), 1.0, abs_tol=1e-3) for output in outputs)

    [score] = language_model.predict(["The statement is executed."])
    assert score["num_characters"] == len("The statement is executed.")
    assert math.isclose(score["perplexity"], math.exp(-score["log_likelihood"] / score["num_tokens"]), rel_tol=1e-3)
    first, second = (language_model.generate("The", max_tokens=12, seed=3) for _ in range(2))
    assert first == second
    [embedding] = language_model.embed(["The statement"])
    assert len(embedding) == 32
