"""What pages say to a browser before it runs anything: who may look, what may load, what is text."""

import re

import pytest
from starlette.testclient import TestClient

from app.api.auth import SESSION_COOKIE
from app.contract.job import JobStatus
from app.db.session import Database
from app.services.keys import Keys
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.sweeps.conftest import make_bench
from tests.factories import FEATURES_BODY, make_dataset, make_evaluation, make_job, make_model
from tests.web.running_jobs import report

PAGES = ("/", "/sweeps", "/compare", "/datasets", "/models", "/workers", "/jobs/new", "/login")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_no_script_of_its_text(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=\"(https?:)?//", answer.text)
    assert not re.search(r"<script(?![^>]*(src=|application/json))|<style| style=| on\w+=", answer.text)


def test_assets_are_kept_for_good_and_found_by_every_page(client: TestClient) -> None:
    assets = {asset for path in PAGES for asset in re.findall(r'"(/static/[^"]+)"', client.get(path).text)}
    assert {asset.rsplit(".", 1)[1] for asset in assets} == {"css", "js", "svg"}
    for asset in assets:
        answer = client.get(asset)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_a_model_tells_how_to_judge_it_where_data_can(
    client: TestClient, database: Database, store: FolderStore
) -> None:
    judge = make_model(database, store, labels=("bad", "good"))
    command = f"pretune models evaluate {judge.id} ds_... --url http://"
    assert command in client.get(f"/models/{judge.id}").text
    make_evaluation(database, store, judge, make_dataset(database, "labeled_text"))
    assert command not in client.get(f"/models/{judge.id}").text
    gan = make_model(database, store, job=make_job(database, method="gan"), body=FEATURES_BODY)
    assert "pretune models evaluate" not in client.get(f"/models/{gan.id}").text


def test_what_users_write_is_text(client: TestClient, database: Database) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    job = make_job(database, name=name)
    for path in ("/", f"/jobs/{job.id}", f"/compare?job={job.id}"):
        text = client.get(path).text
        assert "<img" not in text
        assert text.count("</script>") == text.count("<script")


def test_a_table_is_sorted_searched_and_counted(client: TestClient, database: Database) -> None:
    low, high = (make_job(database, name=name, status=JobStatus.RUNNING) for name in ("Low", "high_100%"))
    report(database, low, 10, train_loss=1.0, validation_loss=1.5)
    report(database, high, 10, train_loss=2.0, validation_loss=2.5)
    make_job(database, name="none", status=JobStatus.FAILED)

    def names(query: str) -> list[str]:
        return re.findall(r'class="name"[^>]*>([^<]+)<', client.get(f"/?{query}").text)

    assert names("") == ["none", "high_100%", "Low"]
    assert names("sort=loss&order=asc") == ["Low", "high_100%", "none"]
    assert names("sort=loss&order=desc") == ["high_100%", "Low", "none"]
    assert names("q=LOW") == ["Low"]
    assert names("q=_1") == ["high_100%"], "no wildcard"
    assert names(f"q={low.id}") == ["Low"]
    assert names("status=failed") == ["none"]
    assert names("status=paused") == []
    assert "No job passes these filters" in client.get("/?status=paused").text
    assert "Active 2" in client.get("/?status=failed").text, "counts of the other statuses stay"


def test_an_empty_service_says_what_to_do_next(client: TestClient) -> None:
    text = client.get("/").text
    assert "No job yet" in text
    assert 'href="/datasets"' in text


def test_a_sweep_leads_to_its_jobs_and_they_to_it(
    client: TestClient, database: Database, settings: Settings, store: FolderStore
) -> None:
    bench = make_bench(database, settings, store)
    make_job(database, name="alone")
    assert "No sweep yet" in client.get("/sweeps").text
    sweep = bench.create(name="rates", folds=2, max_parallel=1)
    bench.look()
    listed = client.get("/sweeps").text
    assert f'href="/sweeps/{sweep.id}">rates<' in listed
    assert "0 / 6" in listed
    assert f'href="/?sweep={sweep.id}"' in client.get(f"/sweeps/{sweep.id}").text
    jobs = client.get(f"/?sweep={sweep.id}&sort=name&order=asc").text
    assert re.findall(r'class="name"[^>]*>([^<]+)<', jobs) == [f"rates: trial 0, fold {fold} of 2" for fold in (1, 2)]
    assert f'<input type="hidden" name="sweep" value="{sweep.id}">' in jobs
    second = bench.jobs_of(sweep.id)[1].id
    assert f'trial 0, fold 2, of <a href="/sweeps/{sweep.id}">its sweep</a>' in client.get(f"/jobs/{second}").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/job_none", 404),
        ("/sweeps/swp_none", 404),
        ("/?sort=color", 422),
        ("/?page=0", 422),
        ("/compare?job=x", 404),
    ],
)
def test_a_page_that_is_not_there_is_a_page(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "All jobs" in answer.text


def test_a_job_stands_beside_the_one_that_it_was_cloned_from(client: TestClient, database: Database) -> None:
    first = make_job(database, name="first")
    clone = make_job(database, name="clone", job_metadata={"cloned_from": first.id})
    assert f'"against":{{"id":"{first.id}"' in client.get(f"/jobs/{clone.id}").text
    gone = make_job(database, name="clone", job_metadata={"cloned_from": "job_gone"})
    assert '"against":null' in client.get(f"/jobs/{gone.id}").text


class TestWithKeys:
    @pytest.fixture
    def key(self, database: Database) -> str:
        return Keys(database).create().text

    def test_who_is_not_known_is_asked_and_comes_back(self, client: TestClient, key: str) -> None:
        answer = client.get("/jobs/job_x?a=b", follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?next=%2Fjobs%2Fjob_x%3Fa%3Db"
        assert client.get("/session").json() == {"known": False}

    def test_a_key_becomes_a_cookie_that_no_script_reads(self, client: TestClient, key: str) -> None:
        answer = client.post("/session", json={"key": key})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/session").json() == {"known": True}
        assert client.get("/", follow_redirects=False).status_code == 200
        assert client.get("/v1/jobs").status_code == 200
        assert "Sign out" in client.get("/").text

    def test_signing_out_forgets_it(self, client: TestClient, key: str) -> None:
        client.post("/session", json={"key": key})
        assert client.delete("/session").status_code == 204
        assert client.get("/v1/jobs").status_code == 401

    @pytest.mark.parametrize("wrong", ["pt_000000000000_wrong", "a;b", "", "ü"])
    def test_a_key_that_is_none_gets_no_cookie(self, client: TestClient, key: str, wrong: str) -> None:
        answer = client.post("/session", json={"key": wrong})
        assert answer.status_code in {401, 422}
        assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://127.0.0.1:3000"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_another_origin_cannot_use_the_cookie(self, client: TestClient, key: str, headers: dict[str, str]) -> None:
        client.cookies.set(SESSION_COOKIE, key)
        for answer in (
            client.get("/v1/jobs", headers=headers),
            client.post("/v1/jobs", json={}, headers=headers),
            client.post("/session", json={"key": key}, headers=headers),
            client.delete("/session", headers=headers),
        ):
            assert answer.status_code == 403
            assert answer.json()["code"] == "forbidden_origin"

    @pytest.mark.parametrize(
        "headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:8080"}]
    )
    def test_our_own_pages_can(self, client: TestClient, key: str, headers: dict[str, str]) -> None:
        client.cookies.set(SESSION_COOKIE, key)
        assert client.get("/v1/jobs", headers=headers).status_code == 200

    def test_a_key_in_the_header_is_nobodys_cookie(self, client: TestClient, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}", "Origin": "https://tools.example"}
        assert client.get("/v1/jobs", headers=headers).status_code == 200

    def test_another_projects_job_is_not_there(self, client: TestClient, database: Database, key: str) -> None:
        other = make_job(database, project_id="other", name="secret")
        client.cookies.set(SESSION_COOKIE, key)
        assert client.get(f"/jobs/{other.id}").status_code == 404
        assert "secret" not in client.get("/").text
