"""Pages of sweeps, with trials that ended in every way, and one that is steered as it goes."""

import math
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.contract.job import JobStatus
from app.contract.specs.sweep import TrialState
from app.db.session import Database
from app.settings import Settings
from app.storage import FolderStore
from tests.app.services.sweeps.conftest import RATE, SweepBench, log_distance, make_bench, rate_of
from tests.web.conftest import NARROW

pytestmark = pytest.mark.slow
WIDTHS = "method.architecture.hidden_widths"
#: One rung, at the half.
HALVING = {"reduction_factor": 2, "min_fraction": 0.4}
SEARCH = {
    RATE: {"type": "log_uniform", "low": 1e-5, "high": 1e-1},
    WIDTHS: {"type": "categorical", "choices": [[16], [32, 16]]},
}


@pytest.fixture
def bench(database: Database, settings: Settings, store: FolderStore) -> SweepBench:
    return make_bench(database, settings, store)


def diverging(spec: dict[str, Any], step: int) -> float:
    return math.nan if rate_of(spec) > 2e-2 else log_distance(spec, step)


def test_a_finished_sweep_shows_its_trials_and_leads_to_the_next_job(page: Page, bench: SweepBench) -> None:
    bench.loss = diverging
    view = bench.run(bench.create(name="rates", search=SEARCH, trials=24, max_parallel=12, pruner=HALVING).id)
    assert view.best is not None
    assert view.importance is not None
    states = {state.value: view.trials_by_state[state.value] for state in TrialState if state != TrialState.RUNNING}
    page.goto("/sweeps")
    expect(page.get_by_role("row", name="rates")).to_contain_text("24 / 24")
    page.get_by_role("link", name="rates").click()

    expect(page.locator("#reason")).to_have_text(view.reason)
    charts = page.locator("#charts")
    expect(charts.get_by_role("img")).to_have_count(len(SEARCH))
    for state, number in states.items():
        drawn = number - 1 if state == "complete" else number
        expect(charts.locator("figure").first.locator(f".mark.{state}")).to_have_count(drawn)
    expect(charts.locator(".mark.best")).to_have_count(len(SEARCH))
    expect(page.locator("#importance meter")).to_have_count(len(view.importance))

    rows = page.locator("#trials-rows tr")
    expect(rows).to_have_count(24)
    page.get_by_role("button", name="validation loss").click()
    expect(rows.first).to_contain_text("best")
    expect(page.get_by_role("columnheader", name="validation loss")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="validation loss").click()
    expect(rows.last).not_to_contain_text("complete")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == f"{view.id}.csv"

    page.get_by_role("link", name="New job with these").click()
    job = page.get_by_label("job.json")
    expect(job).to_contain_text(str(view.best.parameters[RATE]))
    expect(job).to_contain_text(f'"sweep": "{view.id}"')
    page.goto(f"/sweeps/{view.id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("Its 24 jobs go with it.")
    expect(page.get_by_role("dialog")).to_contain_text(
        f"These models stay usable, and keep their files: {view.model_id}"
    )
    page.get_by_role("button", name="Delete the sweep").click()
    expect(page.get_by_role("heading", name="No sweep yet")).to_be_visible()


def test_a_sweep_is_watched_and_steered_on_a_phone(page: Page, bench: SweepBench) -> None:
    sweep = bench.create(trials=3, max_parallel=1, folds=2)
    page.set_viewport_size(NARROW)
    page.goto(f"/sweeps/{sweep.id}")
    expect(page.locator("#trials-rows")).to_have_text("A trainer begins the first trials.")
    page.get_by_label("log y").check()
    bench.look()
    expect(page.get_by_role("link", name="Job of fold 2 of trial 0, queued")).to_be_visible()
    expect(page.locator("#charts .mark.running")).to_have_count(1)
    bench.train()
    bench.look()
    expect(page.locator("#trials")).to_have_text("1 / 3")
    expect(page.locator("#best-trial")).to_contain_text("New job with these")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#status")).to_have_text("paused")
    assert {row.status for row in bench.jobs_of(sweep.id)} == {JobStatus.SUCCEEDED, JobStatus.PAUSED}
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#status")).to_have_text("running")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the sweep").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    assert bench.get(sweep.id).status == "cancelled"
