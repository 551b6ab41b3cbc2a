"""Ten thousand jobs, and a job with a million points: the pages stay quick."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import insert, text

from app.contract.job import JobStatus
from app.db.ids import new_id
from app.db.session import Database
from app.db.tables import JobRow
from tests.factories import make_job
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NUM_JOBS = 10_000
NUM_POINTS = 1_000_000
FIRST_PAINT_SECONDS = 1.0
#: The first visit pays for what a process makes once.
VISITS = 4

#: In seconds, when there was one. Polled from here: the page's policy lets nobody wait inside it.
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint').map(paint => paint.startTime / 1000)"
PAINT_SECONDS = 30.0


#: Made by SQLite itself: a million rows from here would take a minute.
POINTS = """
    WITH RECURSIVE steps(step) AS (SELECT 1 UNION ALL SELECT step + 1 FROM steps WHERE step < :last)
    INSERT INTO metrics (job_id, name, step, value) SELECT :job, 'train_loss', step, 1 + 1.0 / step FROM steps
"""


@pytest.fixture
def long_job(database: Database) -> JobRow:
    job = make_job(database, name="long", status=JobStatus.SUCCEEDED, metrics={"train_loss": 1.0})
    with database.transaction() as session:
        session.execute(text(POINTS), {"job": job.id, "last": NUM_POINTS})
    return job


@pytest.fixture
def many_jobs(database: Database) -> None:
    first = make_job(database, name="first")
    columns = {column.key: getattr(first, column.key) for column in JobRow.__table__.columns if column.key != "id"}
    statuses = [status.value for status in JobStatus]
    rows = [
        columns | {"id": new_id("job"), "name": f"job {number}", "status": statuses[number % len(statuses)]}
        for number in range(NUM_JOBS)
    ]
    with database.transaction() as session:
        session.execute(insert(JobRow), rows)


def first_paints(page: Page, path: str) -> Iterator[float]:
    for _ in range(VISITS):
        page.goto(path)
        yield wait_until(lambda: page.evaluate(FIRST_PAINT), PAINT_SECONDS, "the first paint")[0]


def test_ten_thousand_jobs(page: Page, many_jobs: None) -> None:
    for path in ("/", "/?sort=loss&order=asc&page=150", "/?q=job+77&status=active", "/jobs/new"):
        assert min(first_paints(page, path)) < FIRST_PAINT_SECONDS, path
    page.goto("/")
    expect(page.get_by_role("link", name="All 10,001")).to_be_visible()


def test_a_million_points(page: Page, long_job: JobRow) -> None:
    assert min(first_paints(page, f"/jobs/{long_job.id}")) < FIRST_PAINT_SECONDS
    curve = page.locator("#loss svg[role=img] path")
    expect(curve).not_to_have_count(0, timeout=60_000)
    points = curve.first.evaluate("path => path.getAttribute('d').split('L').length")
    assert 500 < points <= 2_000
