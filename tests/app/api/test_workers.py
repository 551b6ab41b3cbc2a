"""Who trains and answers, what each does now, and since when one has been silent."""

from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from app.contract.job import JobStatus
from app.db import attempts, workers
from app.db.session import Database, now
from app.db.tables import WorkerRow
from app.db.workers import Role
from app.services.keys import Keys
from app.services.workers import Workers
from app.settings import Settings
from tests.factories import make_job

TRAINER, DEAD, REPLICA = (f"wrk_{digit * 32}" for digit in "123")


@pytest.fixture
def three(database: Database, settings: Settings) -> None:
    def beat(worker_id: str, role: Role, *, missed: float = 0.0, loaded: tuple[str, ...] = ()) -> None:
        with database.transaction() as session:
            workers.heartbeat(
                session,
                id=worker_id,
                role=role,
                queues=["cpu"] if role == "trainer" else [],
                devices=["cpu"],
                labels=["fast", "zone=eu"] if role == "trainer" else [],
                address=None,
                loaded=loaded,
                at=now(session) - timedelta(seconds=missed * settings.heartbeat_seconds),
            )

    beat(TRAINER, "trainer", missed=1)
    beat(DEAD, "trainer", missed=4)
    beat(REPLICA, "inference", loaded=("a", "b"))


@pytest.mark.usefixtures("three")
def test_each_worker_tells_its_state_and_what_it_does(client: TestClient, database: Database) -> None:
    queued = make_job(database)
    make_job(database, status=JobStatus.SUCCEEDED, lease_owner=None)
    with database.transaction() as session:
        attempts.claim(session, owner=TRAINER, devices=("auto",), lease_seconds=60.0)
    replica, dead, trainer = client.get("/v1/workers").json()["data"]
    assert (trainer["state"], trainer["role"], trainer["queues"], trainer["devices"]) == (
        "live",
        "trainer",
        ["cpu"],
        ["cpu"],
    )
    assert (trainer["labels"], replica["labels"]) == (["fast", "zone=eu"], [])
    assert (trainer["jobs"], trainer["num_jobs"]) == ([queued.id], 1)
    assert trainer["version"] == client.get("/v1/version").json()["version"]
    assert (dead["state"], dead["jobs"]) == ("silent", [])
    assert (replica["state"], replica["num_models"], replica["jobs"]) == ("live", 2, [])
    assert replica["name"]


@pytest.mark.usefixtures("three")
def test_those_of_a_state_come_page_by_page(client: TestClient) -> None:
    first = client.get("/v1/workers?state=live&limit=1").json()
    second = client.get(f"/v1/workers?state=live&limit=1&cursor={first['next_cursor']}").json()
    assert [page["data"][0]["id"] for page in (first, second)] == [REPLICA, TRAINER]
    assert second["next_cursor"] is None
    assert [row["id"] for row in client.get("/v1/workers?state=silent").json()["data"]] == [DEAD]


@pytest.mark.parametrize("query", ["state=dead", "cursor=job_1", "limit=0"])
def test_what_no_list_takes_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/v1/workers?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["errors"][0]["location"]


@pytest.mark.usefixtures("three")
def test_jobs_of_other_projects_are_counted_and_not_named(database: Database, settings: Settings) -> None:
    make_job(database, project_id="other")
    with database.transaction() as session:
        attempts.claim(session, owner=TRAINER, devices=("auto",), lease_seconds=60.0)
    trainer = Workers(database, settings).page("default", state=None, cursor=None, limit=10).data[-1]
    assert (trainer.jobs, trainer.num_jobs) == ([], 1)


@pytest.mark.usefixtures("three")
def test_the_page_names_the_jobs_and_tells_who_is_silent(client: TestClient, database: Database) -> None:
    job = make_job(database, project_id="other")
    mine = make_job(database)
    with database.transaction() as session:
        for _ in range(2):
            attempts.claim(session, owner=TRAINER, devices=("auto",), lease_seconds=60.0)
    text = client.get("/workers").text
    assert f'href="/jobs/{mine.id}"' in text
    assert job.id not in text
    assert "1 of other projects" in text
    assert text.index(TRAINER) < text.index(DEAD), "those that live come first"
    assert text.count("1 alive") == 2
    assert text.count("fast, zone=eu") == 2


def test_a_key_is_needed_where_there_is_one(client: TestClient, database: Database) -> None:
    key = Keys(database).create().text
    assert client.get("/v1/workers").status_code == 401
    assert client.get("/v1/workers", headers={"Authorization": f"Bearer {key}"}).json() == {
        "data": [],
        "next_cursor": None,
    }


def test_a_worker_of_an_older_version_is_shown_without_a_name(client: TestClient, database: Database) -> None:
    with database.transaction() as session:
        at = now(session)
        session.add(
            WorkerRow(
                id=TRAINER,
                role="trainer",
                queues=[],
                devices=[],
                labels=None,
                loaded=[],
                started_at=at,
                heartbeat_at=at,
            )
        )
    (row,) = client.get("/v1/workers").json()["data"]
    assert (row["name"], row["version"], row["labels"], row["state"]) == (None, None, [], "live")
    assert TRAINER in client.get("/workers").text
