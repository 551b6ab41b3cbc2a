"""OpenAI's client, unmodified, has trained what OpenAI knows nothing of: by `extra_body`."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from tests.e2e.running import RunningService, write_jsonl
from tests.e2e.specs import TRAINING, pretrain, reviews_file, text_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def client(sqlite_service: RunningService) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{sqlite_service.url}/openai/v1", api_key="none") as client:
        yield client


@pytest.fixture
def parent(client: OpenAI, tmp_path: Path) -> str:
    asked = {name: value for name, value in pretrain("").items() if name in {"kind", "method", "training"}}
    job = trained(client, text_file(tmp_path), "", {"kind": "text"}, asked)
    assert (job.model, job.model_dump()["kind"]) == ("", "pretrain")
    return str(job.fine_tuned_model)


def test_a_pretraining_is_done(client: OpenAI, parent: str) -> None:
    assert client.completions.create(model=parent, prompt="The", max_tokens=4).choices[0].text
    assert client.embeddings.create(model=parent, input="The").data[0].embedding


def test_a_classifier_is_taught(client: OpenAI, parent: str, tmp_path: Path) -> None:
    asked = {"method": {"type": "classification", "label_smoothing": 0.1}, "training": short()}
    job = trained(client, reviews_file(tmp_path), parent, {}, asked)
    answer: Any = client.post(
        f"{str(client.base_url).replace('/openai/v1', '/v1')}models/{job.fine_tuned_model}/predict",
        body={"inputs": ["soup was splendid today"]},
        cast_to=object,
    )
    assert set(answer["outputs"][0]["scores"]) == {"good", "bad"}
    assert next(iter(client.fine_tuning.jobs.checkpoints.list(job.id))).step_number == 3
    assert {event.type for event in client.fine_tuning.jobs.list_events(job.id)} == {"message", "metrics"}


def test_semantic_roles_are_taught(client: OpenAI, parent: str, tmp_path: Path) -> None:
    roles = [
        {"tokens": [who, "eats", what], "predicate": 1, "roles": ["B-A0", "B-V", "B-A1"]}
        for who in ("Ada", "Bo", "Cy", "Di", "Ed")
        for what in ("soup", "bread", "fish", "rice")
    ]
    path = write_jsonl(tmp_path / "roles.jsonl", list(roles))
    asked = {"method": {"type": "semantic_role_labeling"}, "training": short()}
    job = trained(client, path, parent, {}, asked)
    model = client.models.retrieve(str(job.fine_tuned_model)).model_dump()
    assert (model["method"], model["parent"]) == ("semantic_role_labeling", parent)


def short() -> dict[str, Any]:
    return TRAINING | {"duration": {"steps": 3}}


def trained(client: OpenAI, path: Path, model: str, form: dict[str, Any], asked: dict[str, Any]) -> FineTuningJob:
    file = client.files.create(file=path, purpose="fine-tune", extra_body=form or None)
    job = client.fine_tuning.jobs.create(model=model, training_file=file.id, extra_body=asked)
    while job.status in {"queued", "running"}:
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    return job
