"""Uploads, and the page of a data set."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from app.db.session import Database
from tests.app.records.files import csv_of, jsonl, npz
from tests.factories import language_model_spec, make_job
from tests.web.conftest import Complaints

pytestmark = pytest.mark.slow

REVIEWS = jsonl(
    *({"text": f"A {word} film.", "label": label} for word, label in [("fine", "good"), ("dull", "bad")] * 9)
)


def upload(page: Page, filename: str, content: bytes, **fields: str) -> str:
    """The id of the data set whose page opens."""
    page.goto("/datasets")
    choose(page, filename, content, **fields)
    page.wait_for_url(re.compile(r"/datasets/ds_"))
    return page.url.rsplit("/", 1)[1]


def choose(page: Page, filename: str, content: bytes, **fields: str) -> None:
    for label, value in fields.items():
        page.get_by_label(label.capitalize()).fill(value)
    page.get_by_label("File").set_input_files(
        {"name": filename, "mimeType": "application/octet-stream", "buffer": content}
    )
    page.get_by_role("button", name="Upload").click()


def test_a_file_is_uploaded_and_looked_at(page: Page) -> None:
    upload(page, "reviews.jsonl", REVIEWS, name="films")
    expect(page.get_by_role("heading", name="films")).to_be_visible()
    expect(page.locator("#samples tbody tr").first).to_contain_text("A fine film.")
    expect(page.locator("#samples tbody tr")).to_have_count(10)
    page.get_by_label("Show").select_option("30")
    expect(page.locator("#samples tbody tr")).to_have_count(18)
    expect(page.get_by_role("meter", name="good")).to_have_attribute("value", "9")
    page.get_by_role("link", name="Train on this").click()
    expect(page.get_by_role("combobox", name="Method", exact=True)).to_have_value("finetune/classification")


def test_columns_are_named_as_the_file_names_them(page: Page) -> None:
    content = csv_of(["review", "stars"], ["fine", "5"], ["dull", "1"])
    upload(page, "reviews.csv", content, columns="text=review, label=stars")
    expect(page.locator("#samples thead")).to_contain_text("label")
    expect(page.get_by_role("row", name="label from stars")).to_be_visible()


def test_a_bad_record_is_named_by_its_line(page: Page, complaints: Complaints) -> None:
    complaints.foresee("422")
    page.goto("/datasets")
    choose(page, "reviews.jsonl", REVIEWS + b'{"text": 3, "label": "good"}\n')
    expect(page.get_by_role("alert")).to_contain_text("line 19")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was stored")
    expect(page.get_by_role("button", name="Upload")).to_be_enabled()
    choose(page, "reviews.jsonl", REVIEWS, columns="text")
    expect(page.get_by_role("alert")).to_contain_text("Columns are pairs")


def test_images_are_seen(page: Page) -> None:
    images = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    upload(page, "digits.npz", npz(images=images, labels=np.array([0, 1, 0, 1])))
    pictures = page.get_by_role("img", name="A sample")
    expect(pictures).to_have_count(4)
    assert pictures.first.evaluate("image => image.complete && image.naturalWidth") == 8


def test_deleting_says_first_what_it_frees_and_what_stays(page: Page, database: Database) -> None:
    dataset_id = upload(page, "plays.txt", b"To be or not to be. " * 40)
    job = make_job(database, spec=language_model_spec(dataset_id), name="bard")
    page.reload()
    expect(page.get_by_role("link", name="bard")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cannot be deleted now")
    expect(dialog).to_contain_text(job.id)
    expect(dialog.get_by_role("button")).to_have_count(1)
    dialog.get_by_role("button", name="No, go back").click()
    page.goto(f"/jobs/{job.id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    page.goto(f"/datasets/{dataset_id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("This frees 800 B in one file")
    expect(page.get_by_role("dialog")).to_contain_text("their models stay")
    page.get_by_role("button", name="Delete the data set").click()
    expect(page.get_by_role("heading", name="No data set yet")).to_be_visible()
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#lineage")).to_contain_text("deleted")
