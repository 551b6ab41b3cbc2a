"""The dashboard in a real browser: the api on a socket, Chromium before it, and SQLite behind it."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, ViewportSize, sync_playwright

from app.db.session import Database
from app.main import create_app
from app.settings import Settings
from tests.support.waiting import wait_until

START_SECONDS = 30.0
WIDE: ViewportSize = {"width": 1360, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture
def database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    """Pages do not know which database there is."""
    path = tmp_path / "data" / "pretune.db"
    path.parent.mkdir()
    shutil.copy(sqlite_template, path)
    database = Database(f"sqlite:///{path}")
    yield database
    database.dispose()


class Site:
    """The api on a port of its own, which it keeps when it is started again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.start()

    def start(self) -> None:
        config = uvicorn.Config(
            create_app(self._settings), log_config=None, timeout_graceful_shutdown=1, timeout_keep_alive=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener.dup()]})
        self._thread.start()
        wait_until(lambda: self._server.started or None, START_SECONDS, "the api should start")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_SECONDS)

    def close(self) -> None:
        self.stop()
        self._listener.close()


@pytest.fixture
def site(settings: Settings) -> Iterator[Site]:
    site = Site(settings)
    yield site
    site.close()


@pytest.fixture(scope="package")
def chromium() -> str:
    """Debian's package; a browser is not downloaded."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None and os.environ.get("CI"):
        pytest.fail("There is no Chromium: apt-get install chromium")
    if found is None:
        pytest.skip("THE DASHBOARD IS NOT TESTED: there is no Chromium. As root: apt-get install chromium")
    return found


@pytest.fixture(scope="package")
def playwright(chromium: str) -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # root has no sandbox
    yield browser
    browser.close()


class Complaints:
    """What a page must not do: errors in its console, calls to other hosts."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._foreseen: list[str] = []

    def foresee(self, text: str) -> None:
        """A complaint that a test provokes."""
        self._foreseen.append(text)

    def of(self, page: Page) -> None:
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._seen.append(str(error)))
        page.on("request", lambda request: self._judge(request.url))

    def unforeseen(self) -> list[str]:
        return [complaint for complaint in self._seen if not any(text in complaint for text in self._foreseen)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._seen.append(message.text)

    def _judge(self, url: str) -> None:
        if urlsplit(url).scheme in {"http", "https"} and urlsplit(url).hostname != "127.0.0.1":
            self._seen.append(f"a request to {url}")


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def page(browser: Browser, site: Site, complaints: Complaints) -> Iterator[Page]:
    """A fresh profile. The test fails where the page complains."""
    context = browser.new_context(base_url=site.url, viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints.of(page)
    yield page
    context.close()
    assert complaints.unforeseen() == []
