"""Trials before the first step: durable one by one, told as they are made, and never made again."""

from pathlib import Path

from app.contract.job import JobStatus
from app.contract.messages import SearchLine
from tests.support.training_jobs import TrainingJobs, traced
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.progress_signs import ProgressSigns


def test_trials_outlive_the_process_that_made_them(
    training_jobs: TrainingJobs, start_trainer: StartTrainer, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    job_id = training_jobs.submit(trials=3, kill_after_trial=2, faulty_attempts=1, trace=str(trace))
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)

    made = {what: attempt for (what, _, attempt), times in traced(trace).items() if what.startswith("trial") and times}
    assert made == {"trial-0": 1, "trial-1": 1, "trial-2": 2}
    assert row.trials is not None
    assert [trial["learning_rate"] for trial in row.trials] == [0.01, 0.02, 0.03]
    assert row.resolved is not None
    assert row.resolved["learning_rate"] == 0.03
    assert (row.progress["phase"], row.progress["step"]) == ("training", 6)
    told = [event["message"] for event in training_jobs.events(job_id, "log")]
    assert told[0] == "Trial of learning_rate 0.01, batch_size 32: validation loss 1 after 10 steps."


def test_progress_tells_that_trials_are_made(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    job_id = training_jobs.submit(trials=3, wait_after_trials=True)
    start_trainer()
    training_jobs.wait_for_trials(job_id, 3)
    row = training_jobs.get(job_id)
    assert (row.progress["phase"], row.progress["num_trials"], row.progress["num_trials_done"]) == ("trials", 3, 2)
    training_jobs.request_stop(job_id, "pause")
    training_jobs.wait_for(job_id, JobStatus.PAUSED)
    assert training_jobs.checkpoints(job_id) == []


def test_a_search_gives_a_sign_where_it_moves_on_and_none_where_it_repeats_itself() -> None:
    signs = ProgressSigns()
    said = [(0, 0), (0, 5), (0, 5), (1, 0), (1, 0)]
    shown = [signs.shown_by(SearchLine(num_done=done, num_trials=3, step=step)) for done, step in said]
    assert shown == [True, True, False, True, False]
