"""The page of a model: its names, its ancestry, its end. Asking it stands in `test_playground`."""

import pytest
from playwright.sync_api import Page, expect

from app.contract.job import JobStatus
from app.db.session import Database
from app.storage import FolderStore
from tests.factories import make_job, make_model
from tests.web.conftest import Complaints
from tests.web.running_jobs import make_reviews

pytestmark = pytest.mark.slow


def test_lineage_leads_from_the_first_data_to_the_model(page: Page, database: Database, store: FolderStore) -> None:
    parent = make_model(database, store, name="base")
    dataset = make_reviews(database, store, name="reviews.csv")
    spec = {"kind": "finetune", "parent": parent.id, "dataset": dataset.id, "method": {"type": "classification"}}
    job = make_job(database, spec=spec, status=JobStatus.SUCCEEDED, name="judge", parent_model_id=parent.id)
    model = make_model(database, store, job=job, parent=parent, labels=("good", "bad"), name="judge")
    page.goto(f"/models/{model.id}")
    expect(page.locator(".lineage .what")).to_have_text(["data set", "pretrain", "data set", "fine-tune", "model"])
    expect(page.locator(".lineage .here")).to_contain_text("judge")
    page.locator(".lineage").get_by_role("link", name="reviews.csv").click()
    expect(page.get_by_role("heading", name="reviews.csv")).to_be_visible()
    page.goto(f"/jobs/{job.id}")
    expect(page.locator(".lineage .what")).to_have_text(["data set", "pretrain", "data set", "fine-tune", "model"])


def test_aliases_come_and_go(page: Page, database: Database, store: FolderStore, complaints: Complaints) -> None:
    model = make_model(database, store, name="base")
    page.goto(f"/models/{model.id}")
    page.get_by_label("New alias").fill("production")
    page.get_by_role("button", name="Point here").click()
    expect(page.locator("#aliases")).to_contain_text("production")
    page.goto("/models/production")
    expect(page.get_by_label("curl")).to_contain_text("/v1/models/production/generate")
    complaints.foresee("422")
    page.get_by_label("New alias").fill("job_x")
    page.get_by_role("button", name="Point here").click()
    expect(page.locator("#toast")).to_contain_text("cannot be an alias")
    page.get_by_role("button", name="Take the alias production away").click()
    expect(page.locator("#aliases")).to_be_empty()


def test_a_model_is_deleted_once_nothing_needs_it(page: Page, database: Database, store: FolderStore) -> None:
    parent = make_model(database, store, name="base")
    child = make_model(database, store, parent=parent, name="child", seed=1)
    page.goto(f"/models/{parent.id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("Models were fine-tuned from it")
    page.goto(f"/models/{child.id}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete the model").click()
    expect(page.get_by_role("link", name="base")).to_be_visible()
    expect(page.get_by_role("link", name="child")).to_have_count(0)


def test_an_archive_is_downloaded(page: Page, database: Database, store: FolderStore) -> None:
    model = make_model(database, store, name="base")
    page.goto(f"/models/{model.id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Archive").click()
    assert download.value.suggested_filename == f"{model.id}.zip"


def test_a_snippet_is_copied(page: Page, database: Database, store: FolderStore) -> None:
    model = make_model(database, store, name="base")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/models/{model.id}")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("curl").inner_text()
