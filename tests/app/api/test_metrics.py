"""What Prometheus is told: requests of the process, and the state of the whole service."""

import re
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.contract.job import JobStatus
from app.db import workers
from app.db.session import Database, now
from app.db.workers import Role
from app.settings import Settings
from tests.factories import make_dataset, make_job, make_notice, make_project, make_webhook

DOCUMENT = Path(__file__).parents[3] / "docs" / "monitoring.md"


def told(client: TestClient, name: str, **labels: str) -> float:
    samples = [
        sample
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(samples) == 1, (name, labels)
    return samples[0].value


def test_requests_are_counted_by_route_and_never_by_path(client: TestClient) -> None:
    client.get("/v1/jobs/job_1")
    client.get("/v1/jobs/job_2")
    client.get("/nowhere/secret")
    client.request("BREW", "/v1/jobs")
    text = client.get("/metrics").text
    assert 'pretune_http_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"} 2.0' in text
    assert 'pretune_http_request_seconds_count{method="GET",route="/v1/jobs/{job_id}"} 2.0' in text
    assert 'route="unmatched",status="404"' in text
    assert not {"job_1", "secret", "BREW"} & set(text.replace('"', " ").replace("/", " ").split())


def test_jobs_of_all_projects_are_counted_by_method_and_status(client: TestClient, database: Database) -> None:
    make_job(database, status=JobStatus.QUEUED)
    make_job(database, status=JobStatus.QUEUED, project_id=make_project(database, "other"))
    make_job(database, status=JobStatus.FAILED)
    with database.reading() as session:
        gone = now(session)
    make_job(database, status=JobStatus.FAILED, deleted_at=gone)
    assert told(client, "pretune_jobs", method="causal_language_model", status="queued") == 2
    assert told(client, "pretune_jobs", method="causal_language_model", status="failed") == 1
    assert told(client, "pretune_jobs", method="causal_language_model", status="running") == 0
    assert told(client, "pretune_jobs", method="gan", status="queued") == 0


def test_the_age_of_a_queue_is_that_of_its_oldest_job(client: TestClient, database: Database) -> None:
    assert told(client, "pretune_queue_oldest_job_age_seconds", queue="cpu") == 0
    with database.reading() as session:
        at = now(session)
    for device, minutes in (("auto", 20), ("cpu", 10), ("cuda", 60)):
        make_job(database, device=device, queued_at=at - timedelta(minutes=minutes))
    make_job(database, status=JobStatus.RUNNING, queued_at=at - timedelta(days=1))
    assert 1_200 <= told(client, "pretune_queue_oldest_job_age_seconds", queue="cpu") < 1_800
    assert 3_600 <= told(client, "pretune_queue_oldest_job_age_seconds", queue="gpu") < 4_200


def test_the_pace_is_that_of_running_jobs_together(client: TestClient, database: Database) -> None:
    pace = {"step": 5, "steps_per_second": 2.5, "examples_per_second": 80.0}
    for status in (JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        make_job(database, status=status, progress=pace)
    make_job(database, status=JobStatus.RUNNING, progress={"step": 0, "steps_per_second": None})
    prediction = {"kind": "batch_predict", "model": "live", "dataset": make_dataset(database).id}
    make_job(database, status=JobStatus.RUNNING, spec=prediction, method="classification")
    assert told(client, "pretune_running_steps_per_second", method="causal_language_model") == 5.0
    assert told(client, "pretune_running_examples_per_second", method="causal_language_model") == 160.0
    assert told(client, "pretune_running_steps_per_second", method="classification") == 0


def test_workers_are_counted_by_role_and_state(client: TestClient, database: Database, settings: Settings) -> None:
    with database.transaction() as session:
        at = now(session)
        ages: tuple[tuple[Role, timedelta], ...] = (
            ("trainer", timedelta()),
            ("trainer", 2 * settings.silence),
            ("inference", timedelta()),
        )
        for number, (role, age) in enumerate(ages):
            workers.heartbeat(
                session, id=f"wrk_{number}", role=role, queues=(), devices=(), address=None, loaded=(), at=at - age
            )
    assert told(client, "pretune_workers", role="trainer", state="live") == 1
    assert told(client, "pretune_workers", role="trainer", state="silent") == 1
    assert told(client, "pretune_workers", role="inference", state="live") == 1
    assert told(client, "pretune_workers", role="inference", state="silent") == 0


def test_notices_that_wait_are_told_and_those_that_were_delivered_are_not(
    client: TestClient, database: Database
) -> None:
    assert told(client, "pretune_webhook_oldest_notice_age_seconds") == 0
    webhook = make_webhook(database)
    for status in ("pending", "pending", "failed", "delivered"):
        make_notice(database, webhook, status=status)
    assert told(client, "pretune_webhook_notices", status="pending") == 2
    assert told(client, "pretune_webhook_notices", status="failed") == 1
    assert told(client, "pretune_webhook_oldest_notice_age_seconds") > 0


def test_what_the_document_names_is_told(client: TestClient) -> None:
    client.get("/v1/version")
    families = text_string_to_metric_families(client.get("/metrics").text)
    names = {sample.name for family in families for sample in family.samples}
    documented = set(re.findall(r"pretune_(?!replica|api|key)\w+", DOCUMENT.read_text()))
    assert len(documented) >= 9, documented
    assert documented <= {name.removesuffix("_count") for name in names}
