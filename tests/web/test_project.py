"""The page of a project: its keys, its webhooks, and what they were told."""

import pytest
from playwright.sync_api import Page, expect

from app.contract.scopes import Scope
from app.db.session import Database
from app.services.keys import Keys, Presented
from tests.factories import make_notice, make_webhook
from tests.support.waiting import wait_until
from tests.web.conftest import Complaints

pytestmark = pytest.mark.slow

SECONDS = 30.0


def sign_in(page: Page, key: str) -> None:
    page.goto("/login?next=/project")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Project default")).to_be_visible()


def test_the_first_key_opens_everything_and_closes_the_service(page: Page, database: Database) -> None:
    page.goto("/project")
    expect(page.get_by_text("No key yet")).to_be_visible()
    page.get_by_label("What it is for").fill("mine")
    expect(page.get_by_label("admin")).to_be_checked()
    page.get_by_role("button", name="Make a key").click()
    text = page.get_by_label("The key", exact=True).text_content() or ""
    presented = Presented.of(text)
    assert Keys(database).authenticate([presented])[presented].scopes == [Scope.ADMIN]
    page.wait_for_timeout(3_500)  # the page would look for deliveries, and be sent to sign in
    expect(page.get_by_label("The key", exact=True)).to_have_text(text)
    wait_until(lambda: not page.request.get("/session").json()["known"], SECONDS, "the service asks for keys")
    sign_in(page, text)
    expect(page.get_by_role("row").filter(has_text="mine")).to_contain_text("admin")


def test_a_key_is_made_with_its_scopes_and_revoked(page: Page, database: Database) -> None:
    sign_in(page, Keys(database).create(name="the first").text)
    page.get_by_label("What it is for").fill("robot")
    page.get_by_label("predict").check()
    page.get_by_label("Days until it ends").fill("3")
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_label("The key", exact=True)).to_contain_text("pt_")
    page.reload()
    row = page.get_by_role("row").filter(has_text="robot")
    expect(row).to_contain_text("read, predict")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_role("row").filter(has_text="robot")).to_contain_text("revoked")


def test_who_may_only_look_sees_no_keys(page: Page, database: Database) -> None:
    Keys(database).create(name="hidden")
    sign_in(page, Keys(database).create(scopes=[Scope.READ]).text)
    expect(page.get_by_text("Not with this key")).to_be_visible()
    expect(page.get_by_text("hidden")).to_have_count(0)


def test_an_address_is_told_shown_and_taken_away(page: Page, complaints: Complaints) -> None:
    complaints.foresee("422")
    page.goto("/project")
    page.get_by_label("Address").fill("http://192.168.0.1/hook")
    page.get_by_role("button", name="Tell this address").click()
    expect(page.locator("#toast")).to_contain_text("192.168.0.1")
    page.get_by_label("Address").fill("https://example.com/hook")
    page.get_by_label("job.running").check()
    page.get_by_role("button", name="Tell this address").click()
    row = page.get_by_role("row").filter(has_text="example.com/hook")
    expect(row).to_contain_text("job.running")
    row.get_by_role("button", name="Show the secret").click()
    expect(page.get_by_role("dialog")).to_contain_text("whsec_")
    page.get_by_role("button", name="No, go back").click()
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_text("No webhook yet")).to_be_visible()


def test_a_dead_letter_is_sent_again(page: Page, database: Database) -> None:
    notice = make_notice(database, make_webhook(database), status="failed", error="no route to host")
    page.goto("/project")
    row = page.get_by_role("row").filter(has_text=notice.id)
    expect(row).to_contain_text("no route to host")
    row.get_by_role("button", name="again").click()
    expect(page.locator("#toast")).to_have_text("It is sent again.")
