"""Machines that have no disk in common: each process has a data folder of its own, and they share a database, a broker
and a bucket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.contract.job import JobStatus
from app.db.session import Database
from app.settings import Settings
from app.storage import ArtifactStore, open_store
from tests.faults.conftest import LEASE_SECONDS
from tests.support.api_server import ApiServer
from tests.support.objects import Way
from tests.support.replica_server import ReplicaServer
from tests.support.training_jobs import TrainingJobs
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("postgresql"), pytest.mark.timeout(400)]

TRAINER = "worker.celery_app"
TEXT = "".join(f"the {number}th line is followed by line {number + 1}.\n" for number in range(400))
STEPS = 300


@pytest.fixture
def settings(settings: Settings, bucket: str) -> Settings:
    return settings.model_copy(update={"store": f"s3://{bucket}/pretune"})


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return open_store(settings)


@pytest.fixture
def training_jobs(database: Database, store: ArtifactStore, tmp_path: Path) -> TrainingJobs:
    return TrainingJobs(database, store, tmp_path)


@pytest.fixture
def http(no_process_stays: None, settings: Settings, tmp_path: Path) -> Iterator[httpx2.Client]:
    server = ApiServer(settings.model_copy(update={"data_dir": tmp_path / "api"}), tmp_path)
    server.start()
    server.wait_until_ready()
    with server.client() as client:
        yield client
    server.close()


def uploaded(http: httpx2.Client) -> str:
    answer = http.post("/v1/datasets", files={"file": ("lines.txt", TEXT.encode())}, data={"kind": "text"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def submitted(http: httpx2.Client, **spec: Any) -> str:
    answer = http.post("/v1/jobs", json=spec)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def language_model(dataset_id: str) -> dict[str, Any]:
    return {
        "kind": "pretrain",
        "dataset": dataset_id,
        "method": {
            "type": "causal_language_model",
            "architecture": {"type": "transformer", "num_layers": 1, "width": 16, "num_heads": 2, "context_length": 16},
            "tokenizer": {"type": "bpe", "vocab_size": 300},
        },
        "training": {
            "duration": {"steps": STEPS},
            "batch_size": 4,
            "checkpoint_every": {"steps": 50},
            "evaluate_every": {"steps": 50},
            "compile": False,
        },
    }


def test_machines_without_a_common_disk_train_resume_inherit_and_serve(
    http: httpx2.Client, workers: Workers, training_jobs: TrainingJobs, settings: Settings, tmp_path: Path
) -> None:
    """One trainer makes a model and is killed in the middle of its next; another resumes that to the same bytes, and
    makes a child of the first, which a replica elsewhere answers with."""
    spec = language_model(uploaded(http))
    first = workers.start(TRAINER, data_dir=tmp_path / "first", lease_seconds=LEASE_SECONDS)
    whole = submitted(http, **spec)
    training_jobs.wait_for(whole, JobStatus.SUCCEEDED)

    killed = submitted(http, **spec)
    training_jobs.wait_for_step(killed, 60)
    training_jobs.wait_for_checkpoint(killed, 50)
    first.kill()
    assert training_jobs.get(killed).status == JobStatus.RUNNING
    workers.start(TRAINER, data_dir=tmp_path / "second")
    child = submitted(
        http,
        kind="finetune",
        parent=whole,
        dataset=spec["dataset"],
        method={"type": "causal_language_model"},
        training={"duration": {"steps": 5}, "compile": False},
    )
    training_jobs.wait_for(killed, JobStatus.SUCCEEDED)
    training_jobs.wait_for(child, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(killed) == ["lost", "succeeded"]
    assert training_jobs.model(killed).reference["digest"] == training_jobs.model(whole).reference["digest"]

    replica = ReplicaServer(settings.model_copy(update={"data_dir": tmp_path / "third"}), tmp_path)
    replica.start()
    try:
        model = training_jobs.model(child).id
        answer = wait_until(lambda: _generated(http, model), 60, "the replica answers")
    finally:
        replica.kill()
    assert answer["text"]
    folders = [tmp_path / name for name in ("api", "first", "second", "third")]
    assert not any((folder / "artifacts").exists() for folder in folders), "all files lie in the bucket"
    assert [(folder / "cache").exists() for folder in folders] == [False, True, True, True]


def _generated(http: httpx2.Client, model: str) -> dict[str, Any] | None:
    answer = http.post(f"/v1/models/{model}/generate", json={"prompt": "the 1"})
    if answer.status_code == 503:  # no replica yet
        return None
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_bucket_that_is_away_costs_an_upload_a_503_and_comes_back_unharmed(
    way: Way, http: httpx2.Client, training_jobs: TrainingJobs
) -> None:
    dataset_id = uploaded(http)
    way.close()
    other = {"file": ("other.txt", b"another text.\n" * 50)}
    refused = http.post("/v1/datasets", files=other, data={"kind": "text"})
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "the object store does not answer" in refused.json()["detail"]
    assert http.get(f"/v1/datasets/{dataset_id}/preview").status_code == 503
    assert http.get("/readyz").json()["checks"]["store"] == "error"
    way.closed = False
    assert http.get(f"/v1/datasets/{dataset_id}/preview").status_code == 200
    assert http.post("/v1/datasets", files=other, data={"kind": "text"}).status_code == 201
    stored = [file for file in training_jobs.store.list("") if "/blobs/" in file.key]
    assert len(stored) == 3, "of the fixture, and the two"
