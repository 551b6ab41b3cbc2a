"""Runs whose memory does not suffice: once, they go on with smaller micro-batches; and how the kernel's kills are told
from others."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault, JobStatus
from app.contract.messages import Resolved
from app.contract.specs.training import TrainingOptions
from tests.support.scripted_training import weights_after
from tests.support.training_jobs import TrainingJobs
from tests.worker.supervisor.conftest import StartTrainer
from worker.supervisor.memory import count_oom_kills, ran_out_of_memory
from worker.supervisor.smaller_batches import SmallerBatches, as_resolved, smaller_batches

ERROR = JobError(code=ErrorCode.OUT_OF_MEMORY, message="Memory ran out.", fault=Fault.USER)


def test_a_run_without_memory_goes_on_with_half_the_micro_batch(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(steps=6, batch_size=12, out_of_memory_at=5, fitting_examples=6)
    start_trainer(max_lost_attempts=1)
    row = training_jobs.wait_for(job_id, JobStatus.SUCCEEDED)
    assert training_jobs.outcomes(job_id) == ["out_of_memory", "succeeded"]
    assert (row.lost_attempts, row.error) == (0, None)
    assert row.resolved is not None
    assert row.resolved["gradient_accumulation_steps"] == 2
    assert row.spec["training"]["gradient_accumulation_steps"] == 1, "what was asked for stays"
    (warning,) = training_jobs.events(job_id, "warning")
    assert "micro-batches of 6 examples, the same batch of 12" in warning["message"]
    assert "last bits" in warning["message"]
    steps = [event["step"] for event in training_jobs.events(job_id, "metrics")]
    assert steps == [1, 2, 3, 4, 5, 5, 6], "it goes on from its last checkpoint"
    assert training_jobs.weights(job_id) == weights_after(6)


def test_the_second_time_it_fails(training_jobs: TrainingJobs, start_trainer: StartTrainer) -> None:
    job_id = training_jobs.submit(batch_size=12, out_of_memory_at=3, fitting_examples=5)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert training_jobs.outcomes(job_id) == ["out_of_memory", "failed"]
    assert row.error is not None
    assert (row.error["code"], row.error["fault"]) == ("out_of_memory", "user")
    assert "again, with micro-batches of 6 examples" in row.error["message"]
    assert "training.batch_size" in row.error["message"]
    assert row.resolved is not None
    assert row.resolved["gradient_accumulation_steps"] == 2


def test_a_micro_batch_of_one_example_cannot_be_halved(
    training_jobs: TrainingJobs, start_trainer: StartTrainer
) -> None:
    job_id = training_jobs.submit(batch_size=1, out_of_memory_at=3)
    start_trainer()
    row = training_jobs.wait_for(job_id, JobStatus.FAILED)
    assert training_jobs.outcomes(job_id) == ["failed"]
    assert training_jobs.events(job_id, "warning") == []
    assert row.error is not None
    assert "a single example" in row.error["message"]
    assert "batch_size" not in row.error["message"], "it would not help"


@pytest.mark.parametrize(
    ("batch_size", "parts", "more"), [(32, 1, 2), (32, 2, 4), (96, 32, 96), (100, 4, 10), (31, 1, 31), (2, 1, 2)]
)
def test_the_batch_is_cut_into_twice_as_many_equal_parts_or_the_fewest_above(
    batch_size: int, parts: int, more: int
) -> None:
    asked = TrainingOptions(batch_size=batch_size, gradient_accumulation_steps=parts)
    next_try = smaller_batches(ERROR, asked, resolved_with(parts))
    assert isinstance(next_try, SmallerBatches)
    assert next_try.resolved == resolved_with(more)
    runs = TrainingOptions.model_validate(as_resolved(asked, next_try.resolved).model_dump())
    assert (runs.batch_size, runs.gradient_accumulation_steps) == (batch_size, more)


def test_before_anything_is_resolved_smaller_batches_would_not_help() -> None:
    error = smaller_batches(ERROR, TrainingOptions(), None)
    assert isinstance(error, JobError)
    assert "before its first step" in error.message


def resolved_with(parts: int) -> Resolved:
    return Resolved(
        device="cpu",
        precision="fp32",
        compile=False,
        total_steps=1,
        evaluate_every_steps=1,
        checkpoint_every_steps=1,
        gradient_accumulation_steps=parts,
        num_parameters=1,
        num_train_examples=1,
        num_validation_examples=0,
    )


@pytest.mark.parametrize(
    ("groups", "counter", "content"),
    [
        ("0::/a/b\n", "sys/fs/cgroup/a/b/memory.events", "low 0\noom 9\noom_kill 3\noom_group_kill 8\n"),
        ("0::/only/outside\n", "sys/fs/cgroup/memory.events", "oom 9\noom_kill 3\n"),
        ("4:cpu,memory:/a\n0::/\n", "sys/fs/cgroup/memory/a/memory.oom_control", "oom_kill_disable 9\noom_kill 3\n"),
        ("0::/\n", "proc/vmstat", "pgfault 9\noom_kill 3\n"),
    ],
)
def test_the_counter_of_the_nearest_control_group_is_read(
    tmp_path: Path, groups: str, counter: str, content: str
) -> None:
    """As control groups of version 2 and 1 and a machine without either show it."""
    for name, text in (("proc/self/cgroup", groups), ("proc/vmstat", "oom_kill 7\n"), (counter, content)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert count_oom_kills(tmp_path) == 3


@pytest.mark.parametrize(
    ("exit_code", "oom_kills", "printed", "ran_out"),
    [
        (-signal.SIGKILL, 1, "", True),
        (-signal.SIGKILL, 0, "std::bad_alloc", False),
        (-signal.SIGABRT, 0, "memory allocation of 48 bytes failed\n", True),  # the tokenizer's last words
        (-signal.SIGABRT, 0, "terminate called after throwing an instance of 'std::bad_alloc'\n", True),
        (-signal.SIGABRT, 0, "double free or corruption (out)\n", False),
        (-signal.SIGABRT, 0, "std::bad_alloc" + "\nlater" * 1_000, False),
        (1, 1, "std::bad_alloc", False),
    ],
)
def test_a_process_that_tells_nothing_is_told_by_the_kernel_or_by_its_log(
    tmp_path: Path, exit_code: int, oom_kills: int, printed: str, ran_out: bool
) -> None:
    (tmp_path / "log").write_text(printed)
    assert ran_out_of_memory(exit_code, oom_kills, tmp_path / "log") == ran_out


def test_a_machine_that_counts_no_kills_has_none(tmp_path: Path) -> None:
    assert count_oom_kills(tmp_path) == 0


#: Of versions 1 and 2.
LIMITS = {Path("/sys/fs/cgroup/memory"): "memory.limit_in_bytes", Path("/sys/fs/cgroup"): "memory.max"}
GREEDY = """
import os, signal, subprocess, sys
from pathlib import Path
from worker.supervisor.memory import count_oom_kills
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
def code_of(program):
    return subprocess.run([sys.executable, "-c", program], check=False).returncode
counts = [count_oom_kills()]
assert code_of("import os; os.kill(os.getpid(), 9)") == -signal.SIGKILL
counts.append(count_oom_kills())
assert code_of("from pathlib import Path; Path('/proc/self/oom_score_adj').write_text('800'); b'1' * (256 << 20)") == -9
counts.append(count_oom_kills())
print(*counts)
"""


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with 128 MiB of memory, where we may make one."""
    root = next((root for root in LIMITS if (root / "cgroup.procs").exists()), Path("/nowhere"))
    group = root / f"pretune-test-{uuid4().hex}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    try:
        with (group / LIMITS[root]).open("r+") as limit:
            limit.write(str(128 << 20))
        yield group
    except OSError:
        pytest.skip("memory cannot be limited here")
    finally:
        group.rmdir()


def test_the_kernel_counts_what_it_kills_and_nothing_else(small_group: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        [sys.executable, "-c", GREEDY, str(small_group)], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["0", "0", "1"]
