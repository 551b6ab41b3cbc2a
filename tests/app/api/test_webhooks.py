"""`/v1/webhooks` and `/v1/deliveries` over HTTP, and a webhook that comes with a job."""

from ipaddress import ip_network
from typing import Any

import httpx2
import pytest

from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from tests.factories import language_model_spec, make_dataset
from tests.support.local_client import local_client
from tests.support.receiver import receiver
from tests.support.waiting import wait_until

HOOK = {"url": "https://hooks.invalid/pretune"}


@pytest.fixture
def spec(database: Database) -> dict[str, Any]:
    return language_model_spec(make_dataset(database).id)


def test_a_webhook_is_made_shown_and_deleted(client: httpx2.Client) -> None:
    made = client.post("/v1/webhooks", json=HOOK)
    assert made.status_code == 201, made.text
    view = made.json()
    assert view["events"] == ["job.succeeded", "job.failed", "job.cancelled"]
    assert view["job_id"] is None
    assert "secret" not in view
    assert client.get(made.headers["Location"]).json() == view
    assert client.get("/v1/webhooks").json()["data"] == [view]
    secret = client.get(f"{made.headers['Location']}/secret").json()["secret"]
    assert secret.startswith("whsec_")
    assert client.delete(made.headers["Location"]).status_code == 204
    assert client.get("/v1/webhooks").json()["data"] == []


@pytest.mark.parametrize(
    ("hook", "location", "words"),
    [
        ({"url": "ftp://hooks.invalid/"}, "url", "ftp://hooks.invalid/"),
        ({"url": "https://me:pass@hooks.invalid/"}, "url", "signature"),
        ({"url": "http://127.0.0.1:8080/v1/jobs"}, "url", "no public address"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url", "PRETUNE_WEBHOOK_NETWORKS"),
        ({"url": "http://[::ffff:127.0.0.1]/"}, "url", "no public address"),
        ({"url": "https://hooks.invalid:99999/"}, "url", "no address"),
        ({"url": "https:///nowhere"}, "url", "names no host"),
        (HOOK | {"events": ["job.exploded"]}, "events.0", "job.failed"),
        (HOOK | {"events": []}, "events", "at least 1"),
        (HOOK | {"secret": "hunter2"}, "secret", "whsec_"),
    ],
)
def test_what_cannot_be_called_is_refused(
    client: httpx2.Client, spec: dict[str, Any], hook: dict[str, Any], location: str, words: str
) -> None:
    for prefix, answer in (
        ("", client.post("/v1/webhooks", json=hook)),
        ("webhook.", client.post("/v1/jobs", json=spec | {"webhook": hook})),
    ):
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert error["location"].endswith(prefix + location)
        assert words in error["message"]
        assert "hunter2" not in answer.text
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_project_has_so_many_and_no_more(client: httpx2.Client) -> None:
    statuses = [client.post("/v1/webhooks", json=HOOK).status_code for _ in range(21)]
    assert statuses == [201] * 20 + [409]


def test_a_repeated_creation_is_one_webhook_and_another_secret_another_request(client: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "one"}
    secret = client.get(client.post("/v1/webhooks", json=HOOK).headers["Location"] + "/secret").json()["secret"]
    first = client.post("/v1/webhooks", json=HOOK | {"secret": secret}, headers=headers)
    again = client.post("/v1/webhooks", json=HOOK | {"secret": secret}, headers=headers)
    assert again.json() == first.json()
    other = client.post("/v1/webhooks", json=HOOK, headers=headers)
    assert other.json()["code"] == "idempotency_key_reused"


def test_a_jobs_own_webhook_is_told_of_it_alone_and_goes_with_it(settings: Settings, spec: dict[str, Any]) -> None:
    settings = settings.model_copy(update={"webhook_networks": (ip_network("127.0.0.0/8"),)})
    with receiver() as here, local_client(create_app(settings)) as client:
        hook = {"url": here.url, "events": ["job.queued", "job.cancelled"]}
        job = client.post("/v1/jobs", json=spec | {"webhook": hook}).json()
        client.post("/v1/jobs", json=spec)
        assert job["spec"]["webhook"] == hook
        [webhook] = client.get("/v1/webhooks", params={"job": job["id"]}).json()["data"]
        client.post(f"/v1/jobs/{job['id']}/cancel")

        wait_until(lambda: len(here.received) == 2, 30, "both were told")

        secret = client.get(f"/v1/webhooks/{webhook['id']}/secret").json()["secret"]
        told = [notice.verified(secret) for notice in here.received]
        assert [(each["type"], each["data"]["id"]) for each in told] == [
            ("job.queued", job["id"]),
            ("job.cancelled", job["id"]),
        ]
        wait_until(lambda: statuses(client) == {"delivered"}, 30, "both were noted")
        assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204
        assert client.get("/v1/webhooks").json()["data"] == []
        assert client.get("/v1/deliveries").json()["data"] == []


def statuses(client: httpx2.Client) -> set[str]:
    return {each["status"] for each in client.get("/v1/deliveries").json()["data"]}
