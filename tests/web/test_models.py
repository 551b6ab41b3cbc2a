"""The page of a model: its names, its memory, its ancestry, its end. Asking it stands in `test_playground`."""

import pytest
from playwright.sync_api import Page, expect

from app.contract.job import JobStatus
from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.factories import make_dataset, make_evaluation, make_job, make_model
from tests.support.waiting import wait_until
from tests.web.conftest import NARROW, Complaints
from tests.web.running_jobs import make_reviews
from tests.worker.serving import models, replicas

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


def test_a_model_is_loaded_pinned_and_unloaded_by_keyboard_on_a_phone(
    page: Page, database: Database, store: FolderStore, settings: Settings, complaints: Complaints
) -> None:
    model, other = (
        replicas.register(database, store, models.feature_regressor(settings.data_dir / name, seed), f"model_{name}")
        for seed, name in enumerate(("small", "other"))
    )
    page.set_viewport_size(NARROW)
    complaints.foresee("503")
    page.goto(f"/models/{model.model_id}")
    memory = page.locator("#memory")
    expect(memory).to_have_text("On no replica.")
    page.get_by_role("button", name="Load", exact=True).press("Enter")
    expect(page.locator("#toast")).to_contain_text("No inference replica")
    with replicas.running(settings.model_copy(update={"inference_threads": 1, "heartbeat_seconds": 0.2})):
        expect(page.get_by_role("button", name="Load", exact=True)).to_be_enabled()
        wait_until(lambda: page.request.post(f"/v1/models/{other.model_id}/load").ok, 30, "the api knows the replica")
        page.get_by_role("button", name="Load", exact=True).press("Enter")
        expect(memory).to_have_text("Loaded on one replica.")
        page.get_by_role("button", name="Pin", exact=True).press("Enter")
        expect(memory).to_have_text("Loaded on one replica, pinned.")
        complaints.foresee("409")
        page.get_by_role("button", name="Unload").press("Enter")
        expect(page.locator("#toast")).to_contain_text("Unpin it first")
        page.get_by_role("button", name="Unpin").press("Enter")
        expect(memory).to_have_text("Loaded on one replica.")
        page.get_by_role("button", name="Unload").press("Enter")
        expect(memory).to_have_text("On no replica.")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


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
    call = page.get_by_role("region", name="Call it")
    call.get_by_role("button", name="Copy").first.click()
    expect(call.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("curl").inner_text()


def test_an_evaluation_leads_from_its_job_to_its_figures_and_to_another(
    page: Page, database: Database, store: FolderStore
) -> None:
    dataset = make_dataset(database, "labeled_text")
    judge, novice = (make_model(database, store, name=name) for name in ("judge", "novice"))
    mine = make_evaluation(database, store, judge, dataset, right=[True] * 40)
    make_evaluation(database, store, novice, dataset, right=[True, False] * 20)
    page.goto(f"/jobs/{mine.job_id}")
    page.get_by_role("link", name="Open the evaluation").click()
    expect(page.get_by_role("heading", name="Evaluation of judge")).to_be_visible()
    expect(page.locator(".heat .shade-9")).to_have_text(["20", "20"])
    page.get_by_text("The bins").click()
    expect(page.get_by_role("row", name="0.73 to 0.80")).to_contain_text("40")
    page.get_by_role("link", name="Compare with").click()
    expect(page.locator(".note").first).to_contain_text(f"{judge.id} is better")
    page.goto(f"/models/{judge.id}")
    expect(page.get_by_role("region", name="Evaluations, table")).to_contain_text("accuracy 1")
