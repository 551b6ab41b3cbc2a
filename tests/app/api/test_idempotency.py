"""`Idempotency-Key`: the first answer again, one resource however often and however fast it is asked for."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.contract.errors import Conflict, InvalidRequest
from app.contract.job import JobStatus
from app.contract.specs.job import job_spec_adapter
from app.db.ids import new_id
from app.db.session import Database, now
from app.db.tables import DEFAULT_PROJECT_ID, DatasetRow, IdempotencyRow, JobRow, ModelRow, Row
from app.dispatch import Dispatcher
from app.housekeeping import Housekeeping, prompt_duties
from app.services.idempotency import ABANDONED_AFTER, KEPT_FOR, Answer, Idempotency, Record
from app.services.jobs import Jobs, JobView
from app.services.keys import Keys
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import language_model_spec, make_checkpoint, make_dataset, make_job

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
REPLAYED = "Idempotency-Replayed"
THREADS = 8


@pytest.fixture
def spec(database: Database) -> dict[str, Any]:
    return language_model_spec(make_dataset(database).id)


def count(database: Database, table: type[Row]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def age(database: Database, by: timedelta) -> None:
    with database.transaction() as session:
        session.execute(update(IdempotencyRow).values(created_at=now(session) - by))


def assert_replayed(again: httpx2.Response, first: httpx2.Response) -> None:
    assert again.headers[REPLAYED] == "true"
    assert REPLAYED not in first.headers
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]


def refused(answer: httpx2.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    detail: str = answer.json()["detail"]
    return detail


def test_a_job_is_made_once_and_the_first_answer_repeated(
    client: TestClient, database: Database, spec: dict[str, Any]
) -> None:
    first = client.post("/v1/jobs", json=spec, headers=KEY)
    assert first.status_code == 202
    assert first.json()["status"] == "queued"
    client.post(f"/v1/jobs/{first.json()['id']}/cancel")
    reordered = json.dumps(dict(reversed(spec.items())), indent=4)
    again = client.post("/v1/jobs", content=reordered, headers=KEY | {"Content-Type": "application/json"})
    assert_replayed(again, first)
    assert count(database, JobRow) == 1
    assert client.post("/v1/jobs", json=spec).status_code == 202
    assert count(database, JobRow) == 2


def test_a_data_set_is_made_once_for_equal_bytes_and_fields(client: TestClient, database: Database) -> None:
    def upload(data: bytes = b"text\nhello\n", filename: str = "a.csv", **form: str) -> httpx2.Response:
        return client.post("/v1/datasets", files={"file": (filename, data)}, data=form, headers=KEY)

    first = upload(name="one")
    assert first.status_code == 201, first.text
    assert_replayed(upload(name="one"), first)
    assert_replayed(upload(name="one", filename="retried.csv"), first)
    refused(upload(name="two"), 422, "idempotency_key_reused")
    refused(upload(b"text\nbye\n", name="one"), 422, "idempotency_key_reused")
    refused(upload(name="one", kind="text"), 422, "idempotency_key_reused")
    assert count(database, DatasetRow) == 1


def test_a_checkpoint_is_promoted_once(client: TestClient, database: Database, store: FolderStore) -> None:
    job = make_job(database, status=JobStatus.SUCCEEDED)
    make_checkpoint(database, store, job, 5)
    make_checkpoint(database, store, job, 6)
    first = client.post(f"/v1/jobs/{job.id}/checkpoints/5/promote", headers=KEY)
    assert first.status_code == 201
    assert client.delete(f"/v1/models/{first.json()['id']}").status_code == 204
    assert_replayed(client.post(f"/v1/jobs/{job.id}/checkpoints/5/promote", headers=KEY), first)
    refused(client.post(f"/v1/jobs/{job.id}/checkpoints/6/promote", headers=KEY), 422, "idempotency_key_reused")
    assert count(database, ModelRow) == 0


def test_a_key_that_was_used_for_another_request_is_refused(
    client: TestClient, database: Database, spec: dict[str, Any]
) -> None:
    client.post("/v1/jobs", json=spec, headers=KEY)
    detail = refused(client.post("/v1/jobs", json=spec | {"priority": 1}, headers=KEY), 422, "idempotency_key_reused")
    assert KEY["Idempotency-Key"] in detail
    other_address = client.post("/v1/datasets", files={"file": ("a.csv", b"text\nx\n")}, headers=KEY)
    refused(other_address, 422, "idempotency_key_reused")
    assert (count(database, JobRow), count(database, DatasetRow)) == (1, 1)


def test_a_refused_request_leaves_the_key_free(client: TestClient, database: Database, spec: dict[str, Any]) -> None:
    for wrong in (spec | {"dataset": new_id("ds")}, spec | {"colour": "blue"}):
        refused(client.post("/v1/jobs", json=wrong, headers=KEY), 422, "validation_failed")
        assert count(database, IdempotencyRow) == 0
    assert client.post("/v1/jobs", json=spec, headers=KEY).status_code == 202


def test_a_refused_data_set_leaves_the_key_free(client: TestClient, database: Database) -> None:
    refused(client.post("/v1/datasets", files={"file": ("a.csv", b"text\n\n")}, headers=KEY), 422, "invalid_dataset")
    assert count(database, IdempotencyRow) == 0
    assert client.post("/v1/datasets", files={"file": ("a.csv", b"text\nx\n")}, headers=KEY).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü"])
def test_what_cannot_be_a_key_is_refused(
    client: TestClient, database: Database, spec: dict[str, Any], key: str
) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = client.post("/v1/jobs", json=spec, headers=headers)
    refused(answer, 422, "validation_failed")
    assert "idempotency-key" in answer.json()["errors"][0]["location"].lower()
    assert count(database, JobRow) == 0


def test_projects_do_not_share_keys(client: TestClient, database: Database) -> None:
    headers = [{"Authorization": f"Bearer {Keys(database).create(project).text}"} for project in ("one", "other")]
    answers = [
        client.post("/v1/datasets", files={"file": ("a.csv", b"text\nx\n")}, headers=KEY | header) for header in headers
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert count(database, DatasetRow) == 2


@pytest.mark.parametrize("attempt", range(3))
def test_one_job_is_made_however_many_ask_at_once(
    client: TestClient, database: Database, spec: dict[str, Any], attempt: int
) -> None:
    line = threading.Barrier(THREADS)
    answers: list[httpx2.Response] = []

    def post() -> None:
        line.wait()
        answers.append(client.post("/v1/jobs", json=spec, headers=KEY))

    threads = [threading.Thread(target=post) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database, JobRow) == 1
    made = [answer for answer in answers if answer.status_code == 202]
    assert len({answer.content for answer in made}) == 1
    assert [answer.headers.get(REPLAYED) for answer in made].count(None) == 1
    for answer in answers:
        if answer not in made:
            refused(answer, 409, "idempotency_key_in_flight")
            assert answer.headers["Retry-After"] == "1"


class Requests:
    """Requests for one job under one key, each as a process carries it out that may die or be slow at any point."""

    def __init__(self, jobs: Jobs, spec: dict[str, Any]) -> None:
        self.jobs, self.spec = jobs, job_spec_adapter.validate_python(spec)

    def once(self, create: Callable[[Record[JobView]], JobView] | None = None, body: str = "a") -> Answer:
        return self.claim(body).once(create or self.submit, lambda view: Answer(202, {}, view.id))

    def claim(self, body: str = "a") -> Idempotency:
        return Idempotency(self.jobs.database, DEFAULT_PROJECT_ID, "key", body * 64)

    def submit(self, record: Record[JobView]) -> JobView:
        return self.jobs.submit(DEFAULT_PROJECT_ID, self.spec, record)


class TestCrashes:
    @pytest.fixture
    def requests(self, database: Database, settings: Settings, spec: dict[str, Any]) -> Iterator[Requests]:
        with closing(Dispatcher(settings)) as dispatcher:
            yield Requests(Jobs(database, dispatcher, settings), spec)

    def test_one_that_died_before_it_created_blocks_for_a_minute_and_no_longer(
        self, requests: Requests, database: Database
    ) -> None:
        assert requests.claim()._claimed()
        age(database, ABANDONED_AFTER - timedelta(seconds=5))
        with pytest.raises(Conflict, match="still being answered"):
            requests.once()
        age(database, ABANDONED_AFTER + timedelta(seconds=1))
        assert not requests.once().replayed
        assert count(database, JobRow) == 1

    def test_one_that_died_after_it_created_is_answered(self, requests: Requests, database: Database) -> None:
        first = requests.once()
        age(database, ABANDONED_AFTER + timedelta(seconds=1))
        assert requests.once() == replace(first, replayed=True)
        assert count(database, JobRow) == 1

    def test_one_that_was_slow_and_passed_over_makes_no_second(self, requests: Requests, database: Database) -> None:
        """The other came when the claim was old, and committed first."""
        others: list[Answer] = []

        def slow(record: Record[JobView]) -> JobView:
            age(database, ABANDONED_AFTER + timedelta(seconds=1))
            others.append(requests.once())
            return requests.submit(record)

        assert requests.once(slow) == replace(others[0], replayed=True)
        assert count(database, JobRow) == 1

    def test_one_whose_key_another_request_took_makes_nothing(self, requests: Requests, database: Database) -> None:
        def slow(record: Record[JobView]) -> JobView:
            age(database, ABANDONED_AFTER + timedelta(seconds=1))
            requests.once(body="b")
            return requests.submit(record)

        with pytest.raises(InvalidRequest, match="another request"):
            requests.once(slow)
        assert count(database, JobRow) == 1

    def test_one_that_fails_while_it_commits_keeps_neither(self, requests: Requests, database: Database) -> None:
        def failing(record: Record[JobView]) -> JobView:
            def record_and_fail(session: Session, view: JobView) -> None:
                record(session, view)
                raise ConnectionError("gone")

            return requests.submit(record_and_fail)

        with pytest.raises(ConnectionError):
            requests.once(failing)
        assert (count(database, JobRow), count(database, IdempotencyRow)) == (0, 0)

    def test_one_whose_commit_was_never_confirmed_is_not_carried_out_again(
        self, requests: Requests, database: Database
    ) -> None:
        def unconfirmed(record: Record[JobView]) -> JobView:
            requests.submit(record)
            raise ConnectionError("the commit stands, and its answer did not come")

        with pytest.raises(ConnectionError):
            requests.once(unconfirmed)
        assert requests.once().replayed
        assert count(database, JobRow) == 1


def test_keys_are_kept_for_a_day(client: TestClient, database: Database, spec: dict[str, Any]) -> None:
    first = client.post("/v1/jobs", json=spec, headers=KEY)
    age(database, KEPT_FOR - timedelta(minutes=1))
    assert_replayed(client.post("/v1/jobs", json=spec, headers=KEY), first)
    age(database, KEPT_FOR + timedelta(minutes=1))
    assert REPLAYED not in client.post("/v1/jobs", json=spec | {"priority": 1}, headers=KEY).headers
    assert count(database, JobRow) == 2


def test_housekeeping_forgets_the_old_ones(
    client: TestClient, database: Database, settings: Settings, spec: dict[str, Any]
) -> None:
    client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "old"})
    age(database, KEPT_FOR + timedelta(minutes=1))
    client.post("/v1/jobs", json=spec, headers={"Idempotency-Key": "new"})
    with closing(Dispatcher(settings)) as dispatcher:
        Housekeeping(database, dispatcher, settings, prompt_duties(settings), owner="wrk_a").round()
    with database.reading() as session:
        assert session.scalars(select(IdempotencyRow.key)).all() == ["new"]
