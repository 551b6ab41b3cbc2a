"""Projects beside each other on a real service: what one has the other never sees, and what one does the other never
feels. Every route with a stranger's key is walked in `tests/app/api/test_other_projects.py`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from app.contract.job import JobStatus
from app.db.session import Database
from app.db.tables import JobRow, Row
from app.services.keys import CreatedKey, Keys
from app.settings import Settings
from tests.support.api_server import ApiServer, scripted_job, upload_vectors
from tests.support.training_jobs import TrainingJobs
from tests.support.waiting import wait_until
from tests.support.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.faults]

#: Less than the slowest machine can ask for; twice as many may come at once, and no polite project here sends more.
PER_SECOND = 15.0
POLITE_REQUESTS = 15
FLOODERS = 4
MAX_QUEUED = 5


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"requests_per_second": PER_SECOND, "max_queued_jobs": MAX_QUEUED})


@pytest.fixture
def keys(database: Database) -> dict[str, CreatedKey]:
    return {project: Keys(database).create(project) for project in ("flood", "other")}


@pytest.fixture
def server(keys: dict[str, CreatedKey], api_server: ApiServer) -> ApiServer:
    api_server.start()
    api_server.wait_until_ready()
    return api_server


@contextmanager
def caller(server: ApiServer, key: CreatedKey) -> Iterator[httpx2.Client]:
    with server.client() as http:
        http.headers["Authorization"] = f"Bearer {key.text}"
        yield http


def test_a_revoked_key_opens_nothing_and_no_usable_key_is_written_anywhere(
    server: ApiServer, keys: dict[str, CreatedKey], database: Database, tmp_path: Path
) -> None:
    """27. Not in the database, not in a log, not in a file: however a key was shown, and whether it was right."""
    with caller(server, keys["flood"]) as http:
        made = http.post("/v1/keys", json={"scopes": ["read"]}, headers={"Idempotency-Key": "once"}).json()
        shown = [key.text for key in keys.values()] + [made["key"]]
        for text in (*shown, f"{shown[0]}x", f"pt_000000000000_{'s' * 43}"):
            show(http, text)
        upload_vectors(http)
        assert http.delete(f"/v1/keys/{made['id']}").status_code == 204
    with server.client() as http:
        revoked = {"Authorization": f"Bearer {made['key']}"}
        wait_until(lambda: http.get("/v1/jobs", headers=revoked).status_code == 401, 60, "the key is refused")
    secrets = [text.split("_", 2)[2] for text in shown]
    dump = "\n".join(dumped(database))
    assert made["prefix"] in dump
    assert "/v1/keys" in (tmp_path / "api.log").read_text()
    for secret in secrets:
        assert secret not in dump
        assert files_with(tmp_path, secret) == []


def show(http: httpx2.Client, key: str) -> None:
    """In every place that takes a key, and in some that take none."""
    http.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    http.get("/v1/jobs", headers={"Authorization": f"Basic {key}"})
    http.get("/", headers={"Cookie": f"pretune_key={key}"})
    http.post("/session", json={"key": key})
    http.get("/v1/jobs", params={"cursor": key, "api_key": key})
    http.delete(f"/v1/keys/{key}")
    http.get(f"/v1/models/{key}")


def dumped(database: Database) -> Iterator[str]:
    with database.reading() as session:
        for table in Row.metadata.sorted_tables:
            yield from (str(tuple(row)) for row in session.execute(select(table)))


def files_with(folder: Path, secret: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_flood_of_one_project_is_refused_and_the_other_is_served(
    server: ApiServer, keys: dict[str, CreatedKey]
) -> None:
    """28. What the flood asks beyond its share is refused, and told when to come back; nothing else is."""
    over = threading.Event()
    answers: list[httpx2.Response] = []

    def flood() -> None:
        with caller(server, keys["flood"]) as http:
            while not over.is_set():
                answers.append(http.get("/v1/jobs"))

    def refused() -> bool:
        return any(answer.status_code == 429 for answer in list(answers))

    threads = [threading.Thread(target=flood) for _ in range(FLOODERS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(refused, 60, "the flood is refused")
        with caller(server, keys["other"]) as http:
            polite = [http.get("/v1/jobs").status_code for _ in range(POLITE_REQUESTS)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert polite == [200] * POLITE_REQUESTS
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["code"] == "rate_limited"
            assert int(answer.headers["Retry-After"]) >= 1


def test_a_queue_full_of_one_project_s_jobs_holds_up_no_other_s(
    server: ApiServer,
    keys: dict[str, CreatedKey],
    workers: Workers,
    training_jobs: TrainingJobs,
    database: Database,
) -> None:
    """28. Who asks for more than may wait is refused; whose turn it is starts next, however many came before."""
    with caller(server, keys["flood"]) as http:
        spec = job(upload_vectors(http), priority=1_000)
        flooded = [http.post("/v1/jobs", json=spec) for _ in range(MAX_QUEUED + 2)]
    assert [answer.status_code for answer in flooded] == [202] * MAX_QUEUED + [429] * 2
    assert flooded[-1].json()["code"] == "quota_exceeded"
    with caller(server, keys["other"]) as http:
        asked = http.post("/v1/jobs", json=job(upload_vectors(http), priority=0))
    assert (asked.status_code, asked.json()["queue_position"]) == (202, 2)
    workers.start()
    training_jobs.wait_for(asked.json()["id"], JobStatus.SUCCEEDED)
    for answer in flooded[:MAX_QUEUED]:
        training_jobs.wait_for(answer.json()["id"], JobStatus.SUCCEEDED)
    with database.reading() as session:
        order = session.scalars(select(JobRow.project_id).order_by(JobRow.started_at)).all()
    assert order == ["flood", "other"] + ["flood"] * (MAX_QUEUED - 1)


def job(dataset_id: str, priority: int) -> dict[str, Any]:
    return scripted_job(dataset_id, steps=1, checkpoint_every=1, script={}) | {"priority": priority}
