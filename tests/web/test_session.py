"""Signing in with a key, in a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.db.session import Database
from app.services.keys import Keys
from tests.factories import make_job
from tests.web.conftest import Complaints

pytestmark = pytest.mark.slow


@pytest.fixture
def key(database: Database) -> str:
    return Keys(database).create().text


def test_a_key_opens_the_page_that_was_asked_for(
    page: Page, database: Database, key: str, complaints: Complaints
) -> None:
    complaints.foresee("401")
    job = make_job(database, name="guarded")
    page.goto(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("API key").fill("pt_000000000000_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="guarded")).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
    assert key not in page.evaluate("document.cookie + JSON.stringify({...localStorage})")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/")
    expect(page).to_have_url(re.compile(r"/login\?next=%2F$"))


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_to_no_other_site(page: Page, key: str, elsewhere: str) -> None:
    page.goto(f"/login?next={elsewhere}")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
