"""What counts as progress, and what becomes of a process that shows none, whatever it says."""

from pathlib import Path

import pytest

from app.contract.checkpoint import Environment
from app.contract.job import JobStatus
from app.contract.messages import CheckpointLine, LogLine, MetricsLine, ReadyLine, ReportLine, Resolved, ResolvedLine
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.progress_signs import ProgressSigns

RESOLVED = ResolvedLine(
    resolved=Resolved(
        device="cpu",
        precision="fp32",
        compile=False,
        total_steps=9,
        evaluate_every_steps=1,
        checkpoint_every_steps=1,
        num_parameters=1,
        num_train_examples=1,
        num_validation_examples=0,
    ),
    environment=Environment(torch="2", cpu_capability="none", num_threads=1, device="cpu"),
)
LOG = LogLine(message="still here")


def trained(step: int, *names: str) -> MetricsLine:
    return MetricsLine(step=step, values=dict.fromkeys(names, 1.0))


@pytest.mark.parametrize(
    ("lines", "signs"),
    [
        ([ReadyLine(), LOG, LOG, RESOLVED, LOG], [True, True, True, True, False]),
        ([RESOLVED, trained(1, "train_loss"), trained(1, "validation_loss"), trained(2)], [True] * 4),
        ([RESOLVED, trained(7), LOG, trained(7), trained(7)], [True, True, False, False, False]),
        ([RESOLVED, trained(7), CheckpointLine(step=7, path=Path("/"))], [True, True, True]),
    ],
)
def test_steps_and_what_is_made_of_them_are_progress_and_words_are_not(
    lines: list[ReportLine], signs: list[bool]
) -> None:
    judge = ProgressSigns()
    assert [judge.shown_by(line) for line in lines] == signs


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_a_process_that_talks_and_takes_no_step_is_stalled(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(checkpoint_every=2, chatter_at=3)
    start_trainer(stall_seconds=4.0)  # a busy machine may start a process for as long
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("stalled", "infrastructure")
    assert "took no step for 4 seconds" in row.error["message"]
    assert len(training_jobs.events(job_id, "log")) > 1
    assert [row.step for row in training_jobs.checkpoints(job_id)] == [2]
