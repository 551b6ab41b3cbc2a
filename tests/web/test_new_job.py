"""The form of a new job: what it offers, what it says, what it sends."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.db.session import Database
from app.db.tables import JobRow
from app.storage import FolderStore
from tests.factories import FEATURES_BODY, language_model_spec, make_dataset, make_job, make_model
from tests.web.conftest import Complaints

pytestmark = pytest.mark.slow


def body(page: Page) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(page.get_by_label("job.json").inner_text())
    return told


def submitted(page: Page, database: Database) -> JobRow:
    with page.expect_navigation(url=re.compile(r"/jobs/job_")):
        page.get_by_role("button", name="Start the job").click()
    with database.reading() as session:
        return session.get_one(JobRow, page.url.rsplit("/", 1)[1])


def test_a_job_is_as_short_as_it_can_be_said(page: Page, database: Database) -> None:
    dataset = make_dataset(database)
    page.goto("/jobs/new")
    expect(page.locator("#estimate")).to_contain_text("parameters")
    expect(page.locator("#estimate")).to_contain_text("disk, at most")
    assert body(page) == {
        "kind": "pretrain",
        "dataset": dataset.id,
        "method": {"type": "causal_language_model"},
    }
    row = submitted(page, database)
    assert row.spec["training"]["duration"]["steps"] == 500


def test_what_is_changed_is_said_and_nothing_else_changes(page: Page, database: Database) -> None:
    make_dataset(database)
    page.goto("/jobs/new")
    page.get_by_label("name").fill("it's small")
    page.get_by_label("num layers").fill("1")
    page.get_by_label("duration", exact=True).fill("2")
    page.get_by_label("Unit of duration").select_option("epochs")
    page.get_by_label("learning rate").fill("0.01")
    page.get_by_label("Training").locator("summary").click()
    page.get_by_label("compile").select_option("false")
    page.get_by_label("early stopping").check()
    page.get_by_label("patience").fill("2")
    page.get_by_label("metadata").fill("team=nlp\nnote=a=b")
    expect(page.get_by_label("job.json")).to_contain_text("note")
    assert body(page)["method"] == {
        "type": "causal_language_model",
        "architecture": {"type": "transformer", "num_layers": 1},
    }
    assert body(page)["training"] == {
        "duration": {"epochs": 2},
        "optimizer": {"learning_rate": 0.01},
        "compile": False,
        "early_stopping": {"patience": 2},
    }
    expect(page.get_by_label("curl", exact=True)).to_contain_text("it'\\''s small")
    spec = submitted(page, database).spec
    assert spec["method"]["architecture"]["num_layers"] == 1
    assert spec["training"]["optimizer"]["learning_rate"] == 0.01
    assert spec["training"]["optimizer"]["type"] == "adamw"
    assert spec["training"]["schedule"] == {"type": "cosine", "warmup_steps": 50, "final_fraction": 0.1}
    assert spec["training"]["early_stopping"] == {"patience": 2, "min_delta": 0.0}
    assert spec["metadata"] == {"team": "nlp", "note": "a=b"}


def test_a_variant_brings_its_own_fields(page: Page, database: Database) -> None:
    make_dataset(database, "images")
    page.goto("/jobs/new")
    page.get_by_role("combobox", name="Method", exact=True).select_option("pretrain/autoencoder")
    page.get_by_label("type").first.select_option("conv")
    page.get_by_label("channels").fill("8, 16, 32")
    page.get_by_label("type").nth(1).select_option("sgd")
    page.get_by_label("momentum").fill("0.5")
    expect(page.get_by_label("job.json")).to_contain_text("momentum")
    assert body(page)["method"]["architecture"] == {"type": "conv", "channels": [8, 16, 32]}
    assert body(page)["training"]["optimizer"] == {"type": "sgd", "momentum": 0.5}
    assert submitted(page, database).spec["training"]["optimizer"]["learning_rate"] == 0.01


def test_numbers_can_be_left_to_trials(page: Page, database: Database) -> None:
    make_dataset(database, num_examples=100_000)
    page.goto("/jobs/new")
    page.get_by_label("learning rate").fill("auto")
    page.get_by_label("Unit of duration").select_option("auto")
    expect(page.get_by_label("duration", exact=True)).to_be_disabled()
    expect(page.locator("#estimate")).to_contain_text("steps more at most")
    assert body(page)["training"] == {"duration": "auto", "optimizer": {"learning_rate": "auto"}}
    spec = submitted(page, database).spec
    assert (spec["training"]["duration"], spec["training"]["optimizer"]["learning_rate"]) == ("auto", "auto")


def test_a_refusal_stands_beside_its_field(page: Page, database: Database, complaints: Complaints) -> None:
    complaints.foresee("422")
    make_dataset(database)
    page.goto("/jobs/new")
    width = page.get_by_label("width", exact=True)
    batch = page.get_by_label("batch size")
    batch.fill("0")
    expect(batch).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".field", has=batch).locator(".wrong")).to_contain_text("greater than or equal to 1")
    expect(page.get_by_role("button", name="Start the job")).to_be_disabled()
    batch.fill("8")
    expect(batch).not_to_have_attribute("aria-invalid", "true")
    width.fill("250")
    expect(page.locator("#estimate")).to_contain_text("Width 250 is not divisible by num_heads 4")


def test_a_fine_tune_starts_from_a_model_with_data_that_fit(page: Page, database: Database, store: FolderStore) -> None:
    text = make_model(database, store, name="words")
    numbers = make_model(database, store, name="numbers", body=FEATURES_BODY)
    reviews, points = make_dataset(database, "labeled_text"), make_dataset(database, "labeled_vectors")
    page.goto(f"/jobs/new?parent={text.id}")
    expect(page.get_by_role("combobox", name="Method", exact=True)).to_have_value("finetune/classification")
    expect(page.get_by_label("Start from")).to_have_value(text.id)
    expect(page.get_by_label("Data set")).to_have_value(reviews.id)
    page.get_by_label("Start from").select_option(numbers.id)
    expect(page.get_by_label("Data set")).to_have_value(points.id)
    page.get_by_label("type").last.select_option("frozen")
    expect(page.get_by_label("job.json")).to_contain_text("frozen")
    assert submitted(page, database).spec["strategy"] == {"type": "frozen"}


def test_adapters_stand_beside_the_layers_that_are_named(page: Page, database: Database, store: FolderStore) -> None:
    model = make_model(database, store, name="words")
    make_dataset(database, "labeled_text")
    page.goto(f"/jobs/new?parent={model.id}")
    page.get_by_label("type").last.select_option("lora")
    targets = page.get_by_label("targets")
    expect(targets).to_have_value("all_linear")
    targets.fill("q_proj, v_proj")
    expect(page.get_by_label("job.json")).to_contain_text('"v_proj"')
    assert submitted(page, database).spec["strategy"]["targets"] == ["q_proj", "v_proj"]


def test_a_waiting_fine_tune_names_the_job(page: Page, database: Database) -> None:
    parent = make_job(database, name="still running")
    make_dataset(database, "labeled_text")
    page.goto(f"/jobs/{parent.id}")
    page.get_by_role("link", name="Fine-tune this").click()
    expect(page.get_by_label("Start from")).to_have_value(parent.id)
    assert submitted(page, database).status == "waiting"


def test_a_clone_is_the_same_job_and_says_of_which(page: Page, database: Database) -> None:
    dataset = make_dataset(database)
    training = {"batch_size": 4, "schedule": {"type": "linear"}, "evaluate_every": {"epochs": 1}}
    first = make_job(database, spec=language_model_spec(dataset.id, training=training, metadata={"team": "a"}))
    page.goto(f"/jobs/{first.id}")
    page.get_by_role("link", name="Clone").click()
    expect(page.get_by_label("job.json")).to_contain_text("cloned_from")
    clone = submitted(page, database)
    assert clone.id != first.id
    assert clone.spec == first.spec | {"metadata": {"team": "a", "cloned_from": first.id}}


def test_a_service_without_data_says_where_to_begin(page: Page) -> None:
    page.goto("/jobs/new")
    expect(page.locator("#estimate")).to_contain_text("Choose a data set.")
    page.get_by_role("link", name="Upload a data set").click()
    expect(page.get_by_role("heading", name="No data set yet")).to_be_visible()
