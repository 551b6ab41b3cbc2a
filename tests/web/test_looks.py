"""Every page for everybody: axe finds nothing, in light and dark; 390 pixels are enough; no page complains."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from app.contract.job import JobStatus
from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.sweeps.conftest import make_bench
from tests.factories import (
    FEATURES_BODY,
    IMAGE_BODY,
    TEXT_BODY,
    make_artifact,
    make_dataset,
    make_evaluation,
    make_job,
    make_model,
)
from tests.web.conftest import NARROW, WIDE, Complaints
from tests.web.running_jobs import make_reviews, report, tell

pytestmark = pytest.mark.slow


@pytest.fixture
def paths(database: Database, store: FolderStore, settings: Settings) -> list[str]:
    """A page of each kind, with something on it."""
    for status in JobStatus:
        make_job(database, status=status, name=f"a job that is {status.value}")
    job = make_job(database, status=JobStatus.RUNNING, name="a-rather-long-name-that-nobody-can-break-anywhere-at-all")
    for step in range(10, 50, 10):
        report(database, job, step, train_loss=100 / step, validation_loss=120 / step, learning_rate=0.001)
    tell(database, job, "warning", message="Something is slow.")
    make_artifact(database, store, job, f"events.out.tfevents.{job.id}")
    bodies = {"text": TEXT_BODY, "features": FEATURES_BODY, "image": IMAGE_BODY}
    models = [make_model(database, store, body=body, name=name, seed=len(name)) for name, body in bodies.items()]
    judged = make_dataset(database, "labeled_text")
    evaluations = [
        make_evaluation(database, store, model, judged, right=[True, False, True] * 9) for model in models[:2]
    ]
    bench = make_bench(database, settings, store)
    sweep = bench.create(trials=9, max_parallel=8)
    for take in (bench.look, bench.train, bench.look):
        take()
    dataset = make_reviews(database, store, warnings=["Half of it is one label."])
    return [
        *(
            "/",
            "/?q=nothing",
            f"/jobs/{job.id}",
            "/jobs/none",
            "/compare",
            f"/compare?job={job.id}",
            "/login",
            "/workers",
            "/project",
        ),
        *("/sweeps", f"/sweeps/{sweep.id}"),
        *("/datasets", f"/datasets/{dataset.id}", "/models", *(f"/models/{model.id}" for model in models)),
        *(f"/evaluations/{evaluations[0].id}", f"/evaluations/{evaluations[0].id}/compare/{evaluations[1].id}"),
        *("/jobs/new", f"/jobs/new?parent={models[0].id}", f"/jobs/new?clone={job.id}"),
    ]


def test_axe_finds_nothing(page: Page, paths: list[str], complaints: Complaints) -> None:
    complaints.foresee("404")
    axe = Axe()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for path in paths:
            page.goto(path)
            page.wait_for_timeout(400)
            found = axe.run(page)
            assert found.violations_count == 0, f"{path} in {scheme}: {found.generate_report()}"


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["phone", "desktop"])
def test_no_page_is_wider_than_its_window(
    page: Page, paths: list[str], complaints: Complaints, size: ViewportSize
) -> None:
    complaints.foresee("404")
    page.set_viewport_size(size)
    for path in paths:
        page.goto(path)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path


def test_a_chosen_theme_stays(page: Page, database: Database) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/")
    page.get_by_role("button", name="Dark").click()
    page.goto("/compare")
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    page.get_by_role("button", name="Light").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"


def test_a_page_is_walked_by_keys(page: Page, database: Database) -> None:
    make_job(database, name="only")
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"New job", "Filter", "only"} <= reached
