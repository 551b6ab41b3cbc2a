"""The table of jobs and the page of one job, in a browser."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.contract.job import JobStatus
from app.contract.specs.job import training_spec_adapter
from app.db.session import Database
from app.db.tables import JobRow
from app.storage import FolderStore
from tests.factories import language_model_spec, make_artifact, make_checkpoint, make_dataset, make_job
from tests.web.conftest import Complaints, Site
from tests.web.running_jobs import move, report, tell
from worker.supervisor.overfitting import judged
from worker.supervisor.overfitting_report import REPORT_NAME

pytestmark = pytest.mark.slow


@pytest.fixture
def running(database: Database) -> JobRow:
    """At step 20 of 100, evaluated once."""
    job = make_job(database, name="tiny-lm", status=JobStatus.RUNNING)
    for step in range(1, 21):
        report(database, job, step, train_loss=4.0 - step / 10, learning_rate=0.001 * step)
    report(database, job, 20, validation_loss=2.5)
    tell(database, job, "log", level="info", message="Learned a tokenizer.")
    return job


def names(page: Page) -> list[str]:
    return page.locator("td .name").all_text_contents()


def test_the_table_keeps_its_state_in_the_address(page: Page, database: Database) -> None:
    for name, status in (("alpha", JobStatus.FAILED), ("beta", JobStatus.QUEUED), ("gamma", JobStatus.FAILED)):
        make_job(database, name=name, status=status)
    page.goto("/")
    page.get_by_role("link", name="Failed 2").click()
    page.get_by_role("link", name="Job", exact=True).click()
    assert names(page) == ["alpha", "gamma"]
    page.get_by_role("searchbox").fill("gam")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("td .name")).to_have_text(["gamma"])
    page.reload()
    assert names(page) == ["gamma"]
    page.go_back()
    expect(page.locator("td .name")).to_have_text(["alpha", "gamma"])


def test_a_job_is_deleted_once_it_has_ended(page: Page, database: Database, store: FolderStore) -> None:
    job = make_job(database, name="old", status=JobStatus.FAILED)
    checkpoint = make_checkpoint(database, store, job, 5)
    page.goto(f"/jobs/{job.id}")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("dialog")).to_contain_text("in 3 files")
    page.get_by_role("button", name="Delete the job").click()
    expect(page.get_by_role("heading", name="No job yet")).to_be_visible()
    assert not list(store.list(checkpoint.artifact_prefix))


def test_the_table_lives(page: Page, database: Database) -> None:
    job = make_job(database, name="first")
    page.goto("/")
    expect(page.locator(".badge.queued")).to_be_visible()
    box = page.get_by_role("checkbox", name="Choose first")
    box.check()
    move(database, job, JobStatus.RUNNING, when=JobStatus.QUEUED)
    make_job(database, name="second")
    expect(page.locator(".badge.running")).to_be_visible()
    expect(page.get_by_role("link", name="second")).to_be_visible()
    expect(box).to_be_checked()


def test_several_jobs_are_cancelled_at_once(page: Page, database: Database) -> None:
    jobs = [make_job(database, name=f"job {number}") for number in range(3)]
    make_job(database, name="over", status=JobStatus.SUCCEEDED)
    page.goto("/")
    page.get_by_role("checkbox", name="Choose all jobs").check()
    page.get_by_role("button", name="Cancel jobs").click()
    page.get_by_role("dialog", name="Cancel 3 jobs?").get_by_role("button", name="Cancel 3 jobs").click()
    expect(page.locator(".badge.cancelled")).to_have_count(3)
    with database.reading() as session:
        assert {session.get_one(JobRow, job.id).status for job in jobs} == {"cancelled"}


def test_chosen_jobs_are_compared(page: Page, database: Database, running: JobRow) -> None:
    other = make_job(database, spec=language_model_spec(running.dataset_id, training={"batch_size": 8}), name="small")
    report(database, other, 5, train_loss=3.0)
    page.goto("/")
    page.get_by_role("checkbox", name="Choose tiny-lm").check()
    page.get_by_role("checkbox", name="Choose small").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("tr.differs", has_text="training.batch_size")).to_contain_text("8")
    page.get_by_label("Measure").select_option("train_loss")
    expect(page.locator("#chart svg[role=img] path")).to_have_count(2)
    expect(page.locator("#settings")).not_to_contain_text("validation_fraction")
    page.get_by_label("only what differs").uncheck()
    expect(page.locator("#settings")).to_contain_text("validation_fraction")


def test_a_job_is_followed_as_it_goes(page: Page, database: Database, running: JobRow) -> None:
    page.goto(f"/jobs/{running.id}")
    expect(page.locator("#progress")).to_have_text("20 / 100")
    expect(page.locator("#rate")).to_have_text("10 steps/s")
    expect(page.locator("#eta")).to_have_text("about 80 s left")
    expect(page.locator("#train-from")).to_have_text("from 3.9 at step 1")
    expect(page.locator("#best-at")).to_have_text("step 20")
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#events")).to_contain_text("Learned a tokenizer.")

    report(database, running, 21, train_loss=1.25, learning_rate=0.5)
    expect(page.locator("#progress")).to_have_text("21 / 100")
    expect(page.locator("#train")).to_have_text("1.25")
    expect(page.get_by_role("img", name=re.compile("train from .* at step 21"))).to_be_visible()

    tell(database, running, "warning", message="A part is slow.")
    expect(page.locator("#events .warning")).to_contain_text("A part is slow.")
    move(database, running, JobStatus.SUCCEEDED, when=JobStatus.RUNNING)
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.locator("#spoken")).to_have_text("The job is succeeded.")


def test_nothing_is_lost_while_the_service_is_away(
    page: Page, site: Site, database: Database, running: JobRow, complaints: Complaints
) -> None:
    complaints.foresee("net::ERR")
    page.goto(f"/jobs/{running.id}")
    expect(page.locator("#live")).to_have_text("live")
    site.stop()
    expect(page.locator("#live")).to_have_text("not live")
    report(database, running, 22, train_loss=1.5)
    tell(database, running, "log", level="info", message="Told while nobody listened.")
    report(database, running, 23, train_loss=1.4)
    site.start()
    expect(page.locator("#events")).to_contain_text("Told while nobody listened.")
    expect(page.locator("#progress")).to_have_text("23 / 100")
    assert page.locator("#events li", has_text="Told while").count() == 1
    before = page.locator("#events").inner_text()
    page.reload()
    expect(page.locator("#progress")).to_have_text("23 / 100")
    assert page.locator("#events").inner_text() == before


def test_a_job_is_paused_resumed_cancelled_and_retried(page: Page, database: Database) -> None:
    job = make_job(database, name="steered")
    page.goto(f"/jobs/{job.id}")
    for action, status in (("Pause", "paused"), ("Resume", "queued")):
        page.get_by_role("button", name=action).click()
        expect(page.locator("#status")).to_have_text(status)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="No, go back").click()
    expect(page.locator("#status")).to_have_text("queued")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#status")).to_have_text("queued")
    expect(page.locator("#events")).to_contain_text("cancelled")


def test_a_checkpoint_is_promoted(page: Page, database: Database, store: FolderStore, running: JobRow) -> None:
    make_checkpoint(database, store, running, 20, is_best=True, metrics={"validation_loss": 2.5})
    page.goto(f"/jobs/{running.id}")
    expect(page.locator("#checkpoints")).to_contain_text("loss 2.5")
    page.get_by_role("button", name="Promote step 20").click()
    expect(page).to_have_url(re.compile(r"/models/model_"))
    expect(page.get_by_role("heading", name="Playground")).to_be_visible()


def test_a_batch_prediction_shows_its_answers_and_no_curves(page: Page, database: Database, store: FolderStore) -> None:
    spec = {"kind": "batch_predict", "model": "live", "dataset": make_dataset(database).id}
    rates = {"examples_per_second": 12.0, "steps_per_second": 12.0}
    progress = {"step": 30, "total_steps": 100, "fraction": 0.3, "eta_seconds": 6.0} | rates
    metrics = {"records": 30.0, "errors": 2.0}
    job = make_job(
        database, status=JobStatus.RUNNING, spec=spec, method="classification", progress=progress, metrics=metrics
    )
    for name in ("predictions/part-0.jsonl", "predictions/part-15.jsonl"):
        make_artifact(database, store, job, name)
    page.goto(f"/jobs/{job.id}")
    expect(page.locator("#progress")).to_have_text("30 / 100")
    expect(page.locator("#rate")).to_have_text("12 records/s")
    expect(page.locator("#refused")).to_have_text("2")
    expect(page.locator("#artifacts")).to_contain_text("the answers so far, in 2 parts")
    expect(page.get_by_role("heading", name="Loss")).to_have_count(0)
    expect(page.get_by_role("heading", name="Checkpoints")).to_have_count(0)
    expect(page.get_by_role("link", name="Fine-tune this")).to_have_count(0)

    make_artifact(database, store, job, "predictions.jsonl", b'{"index":0,"output":{}}\n')
    page.reload()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the answers").click()
    assert download.value.path().read_bytes() == b'{"index":0,"output":{}}\n'


def test_a_failure_tells_whose_fault_it_is(page: Page, database: Database) -> None:
    error = {"code": "out_of_memory", "message": "The step needs 9 GB.", "fault": "user"}
    job = make_job(database, status=JobStatus.FAILED, error=error)
    page.goto(f"/jobs/{job.id}")
    note = page.locator(".note.bad")
    expect(note).to_contain_text("The step needs 9 GB.")
    expect(note).to_contain_text("The request or its data are at fault")
    note.get_by_role("link").click()
    expect(page.get_by_role("heading")).to_be_visible()


def test_curves_are_read_by_pointer_and_by_keys(page: Page, running: JobRow) -> None:
    page.goto(f"/jobs/{running.id}")
    page.get_by_label("Smoothing").fill("0")
    chart = page.locator("#loss svg[role=img]")
    expect(chart.locator("path")).to_have_count(2)
    chart.hover()
    tip = page.locator("#loss .tip")
    expect(tip).to_contain_text("train")
    chart.focus()
    page.keyboard.press("Home")
    expect(tip).to_contain_text("step 1")
    expect(tip).to_contain_text("train 3.9")
    page.get_by_label("Smoothing").fill("0.9")
    expect(chart.locator("path.raw")).to_have_count(1)
    page.get_by_label("log y").check()
    expect(page.locator("#loss text", has_text="2").first).to_be_visible()


def test_a_spec_shows_what_differs_from_its_parents(page: Page, database: Database) -> None:
    dataset = make_dataset(database).id
    first = make_job(database, spec=language_model_spec(dataset), name="first")
    spec = language_model_spec(dataset, training={"batch_size": 64}, metadata={"cloned_from": first.id})
    page.goto(f"/jobs/{make_job(database, spec=spec).id}")
    row = page.locator("#spec tr.differs", has_text="training.batch_size")
    expect(row.locator("td")).to_have_text(["64", "32"])
    page.get_by_label("only what differs").check()
    expect(page.locator("#spec tbody tr:not(.differs)")).to_have_count(0)


def test_a_job_tells_whether_it_overfits(page: Page, database: Database, store: FolderStore) -> None:
    spec = language_model_spec(make_dataset(database).id, training={"early_stopping": {"patience": 3}})
    job = make_job(database, spec=spec, status=JobStatus.SUCCEEDED)
    curves = {"train_loss": [(10, 3.0), (20, 2.0), (30, 1.0)], "validation_loss": [(10, 3.1), (20, 2.5), (30, 4.0)]}
    told = judged(job.id, training_spec_adapter.validate_python(spec), "text", curves)
    make_artifact(database, store, job, REPORT_NAME, told.model_dump_json().encode())
    page.goto(f"/jobs/{job.id}")
    panel = page.get_by_role("region", name="Overfitting")
    expect(panel).to_contain_text("It overfits. The validation loss was lowest at step 20 (2.5) and rose to 4")
    expect(panel).to_contain_text("Set, say, method.architecture.dropout to 0.2")
    expect(panel.get_by_role("row", name="best")).to_have_text("best2022.50.5")
    expect(panel.get_by_role("row", name="last")).to_have_text("last30143")
    expect(panel).to_contain_text("training.early_stopping.patience 3")


def test_a_job_without_a_report_has_no_panel_for_it(page: Page, running: JobRow) -> None:
    page.goto(f"/jobs/{running.id}")
    expect(page.locator("#progress")).to_have_text("20 / 100")
    expect(page.get_by_role("region", name="Overfitting")).to_have_count(0)


def test_trials_tell_their_candidates_and_then_the_winner(page: Page, database: Database) -> None:
    spec = language_model_spec(make_dataset(database).id, training={"optimizer": {"learning_rate": "auto"}})
    job = make_job(database, status=JobStatus.RUNNING, spec=spec, trials=[_trial(0.002, 2.5), _trial(0.02, None)])
    page.goto(f"/jobs/{job.id}")
    panel = page.get_by_role("region", name="Decided by trials")
    expect(panel).to_contain_text("Trials come before the first step.")
    expect(panel.get_by_role("row")).to_have_text(
        ["learning rateValidation lossSteps", "0.0022.512", "0.02diverged3 of 12"]
    )
    expect(panel.get_by_role("img")).to_have_attribute("aria-label", re.compile("0.002 from 4 to 3 at step 12"))

    with database.transaction() as session:
        row = session.get_one(JobRow, job.id)
        row.trials = [*(row.trials or ()), _trial(0.006, 2.4)]
        row.resolved = RESOLVED | {"learning_rate": 0.006}
    tell(database, job, "log", level="info", message="Trial of learning_rate 0.006.")
    expect(panel).to_contain_text("learning rate 0.006. The lowest validation loss of all trials")
    expect(panel.get_by_role("row")).to_have_count(4)


def test_a_job_whose_numbers_were_named_has_no_panel_of_trials(page: Page, running: JobRow) -> None:
    page.goto(f"/jobs/{running.id}")
    expect(page.get_by_role("img", name="Loss")).to_be_visible()
    expect(page.get_by_role("region", name="Decided by trials")).to_be_hidden()


RESOLVED = {
    "device": "cpu", "precision": "fp32", "compile": False, "total_steps": 100, "evaluate_every_steps": 10,
    "checkpoint_every_steps": 10, "num_parameters": 1, "num_train_examples": 1, "num_validation_examples": 1,
}  # fmt: skip


def _trial(learning_rate: float, score: float | None) -> dict[str, Any]:
    return {
        "field": "learning_rate",
        "learning_rate": learning_rate,
        "batch_size": 32,
        "steps": 12,
        "score": score,
        "stopped_at_step": 12 if score else 3,
        "cut": None if score else "diverged",
        "curve": [[1, 4.0], [12, 3.0]] if score else [[3, 50.0]],
    }
