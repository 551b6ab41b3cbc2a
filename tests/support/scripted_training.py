"""A training process that trains nothing and fails on request. Speaks the real protocol and writes real checkpoints.

Its "weights" are a chain of digests, one link a step: a resume that lost, repeated or mixed up a step shows in them.
The script is the job's metadata, see `Script`. Started as `python -m tests.support.scripted_training --report-fd N`.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from app.contract.checkpoint import (
    MANIFEST_NAME,
    MODEL_FOLDER,
    TRAINER_FOLDER,
    CheckpointManifest,
    Environment,
    FileEntry,
    checkpoint_folder_name,
    files_within,
)
from app.contract.errors import ErrorCode, JobError
from app.contract.job import Fault
from app.contract.messages import (
    EXIT_FAILED,
    EXIT_STOPPED,
    ArtifactLine,
    Assignment,
    CheckpointLine,
    FailedLine,
    FinishedLine,
    LogLine,
    MetricsLine,
    ReadyLine,
    ReportLine,
    Resolved,
    ResolvedLine,
    SearchLine,
    TrialLine,
)
from app.contract.model_folder import BodyDescription, Granularity, InputKind, ModelDescription, model_digest
from app.contract.specs.architectures import MlpArchitecture
from app.contract.trials import Trial
from app.processes import die_with_parent

FIRST_WEIGHTS = "0" * 64
POLL_SECONDS = 0.02
#: How a value of each type is read from the job's metadata, which holds strings.
READERS: dict[type, Callable[[str], Any]] = {str: str, int: int, float: float, bool: lambda text: text == "yes"}


def weights_after(steps: int) -> str:
    """The oracle: the weights of a run that nothing disturbed."""
    weights = FIRST_WEIGHTS
    for step in range(1, steps + 1):
        weights = _next_weights(weights, step)
    return weights


@dataclass(frozen=True, slots=True)
class Script:
    """What goes wrong, and when. A fault at a step strikes in the attempts up to `faulty_attempts`.

    At `out_of_memory_at`, memory suffices for micro-batches of `fitting_examples`. `trace` is a file that gets a line
    at each start and each end: job, attempt, process id. From the step `padded_at` on, each checkpoint has a file of
    `padding_bytes` more. At `wait_at`, the process waits until the file `wait_for` is there. Before the first step come
    `trials`.
    """

    steps: int
    checkpoint_every: int
    step_seconds: float = 0.0
    faulty_attempts: int = 1_000
    kill_at: int = 0
    exit_at: int = 0
    hang_at: int = 0
    chatter_at: int = 0
    spin_at: int = 0
    fail_at: int = 0
    orphan_at: int = 0
    out_of_memory_at: int = 0
    fitting_examples: int = 0
    garbage_at: int = 0
    damage_at: int = 0
    padded_at: int = 1
    padding_bytes: int = 0
    best_at: int = 0
    deaf: bool = False
    crash_after_finish: bool = False
    wait_at: int = 0
    wait_for: str = ""
    environment_by_attempt: bool = False
    trials: int = 0
    kill_after_trial: int = 0
    wait_after_trials: bool = False
    tell_parent: bool = False
    trace: str = ""

    @classmethod
    def of(cls, assignment: Assignment) -> "Script":
        training = assignment.spec.training
        steps = training.decided_duration.steps
        assert steps is not None
        every = training.checkpoint_every.steps if training.checkpoint_every else None
        given = {
            name: READERS[type(cls.__dataclass_fields__[name].default)](text)
            for name, text in assignment.spec.metadata.items()
            if name in cls.__dataclass_fields__
        }
        return cls(steps=steps, checkpoint_every=every or steps, **given)


class Training:
    def __init__(self, assignment: Assignment, report: TextIO) -> None:
        self._assignment = assignment
        self._script = Script.of(assignment)
        self._report = report
        self._stop = False
        self._step, self._weights = _resumed(assignment.resume_from)

    def run(self) -> int:
        if self._script.deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            signal.signal(signal.SIGTERM, self._heed)
        self._trace("start")
        self._say(ResolvedLine(resolved=self._resolved(), environment=self._environment()))
        self._search()
        if self._script.tell_parent and (parent := self._assignment.parent_model):
            self._say(LogLine(message=f"parent {(parent / 'model.safetensors').read_text()}"))
        while self._step < self._script.steps:
            self._train_one()
            if self._stop:
                self._checkpoint()
                self._trace("stopped")
                return EXIT_STOPPED
            self._wait()
            self._misbehave()
        self._finish()
        return 1 if self._script.crash_after_finish else 0

    def _search(self) -> None:
        for number in range(len(self._assignment.trials), self._script.trials):
            self._say(SearchLine(num_done=number, num_trials=self._script.trials, step=0))
            self._trace(f"trial-{number}")
            trial = Trial(
                field="learning_rate",
                learning_rate=(number + 1) / 100,
                batch_size=32,
                steps=10,
                score=1 / (number + 1),
                stopped_at_step=10,
                curve=((5, 2.0), (10, 1.0)),
            )
            self._say(TrialLine(trial=trial))
            if number + 1 == self._script.kill_after_trial and self._assignment.attempt <= self._script.faulty_attempts:
                os.kill(os.getpid(), signal.SIGKILL)
        while self._script.wait_after_trials:
            if self._stop:
                sys.exit(EXIT_STOPPED)
            time.sleep(POLL_SECONDS)
        if self._script.trials:
            resolved = self._resolved().model_copy(update={"learning_rate": self._script.trials / 100})
            self._say(ResolvedLine(resolved=resolved, environment=self._environment()))

    def _train_one(self) -> None:
        time.sleep(self._script.step_seconds)
        self._step += 1
        self._weights = _next_weights(self._weights, self._step)
        self._say(MetricsLine(step=self._step, values={"train_loss": 1 / self._step}, examples_per_second=10.0))
        if self._step % self._script.checkpoint_every == 0 or self._step == self._script.steps:
            self._checkpoint()

    def _wait(self) -> None:
        while self._step == self._script.wait_at and not Path(self._script.wait_for).exists():
            time.sleep(POLL_SECONDS)

    def _misbehave(self) -> None:
        script = self._script
        if self._assignment.attempt > script.faulty_attempts:
            return
        if self._step == script.orphan_at:
            subprocess.Popen(["sleep", "600"], close_fds=False, stdin=subprocess.DEVNULL)
        if self._step == script.garbage_at:
            self._report.write("this is no report line\n")
        self._fail()
        match self._step:
            case script.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            case script.exit_at:
                sys.exit(1)
            case script.hang_at:
                time.sleep(600)
            case script.chatter_at:
                self._chatter()
            case script.spin_at:
                _spin()

    def _fail(self) -> None:
        match self._step:
            case self._script.fail_at:
                code, message = ErrorCode.BAD_DATA, "Row 17 is no row."
            case self._script.out_of_memory_at if self._micro_batch_size() > self._script.fitting_examples:
                code, message = ErrorCode.OUT_OF_MEMORY, "Memory ran out."
            case _:
                return
        self._say(FailedLine(error=JobError(code=code, message=message, fault=Fault.USER)))
        sys.exit(EXIT_FAILED)

    def _chatter(self) -> NoReturn:
        """Says much and does nothing."""
        while True:
            self._say(LogLine(message="still here"))
            self._say(MetricsLine(step=self._step, values={}))
            print("still here", flush=True)  # noqa: T201  as a library would
            time.sleep(0.05)

    def _micro_batch_size(self) -> int:
        training = self._assignment.spec.training
        return training.decided_batch_size // training.gradient_accumulation_steps

    def _finish(self) -> None:
        sample = self._assignment.output_dir / "sample.txt"
        sample.write_text("a sample")
        self._say(ArtifactLine(name="sample.txt", path=sample, media_type="text/plain"))
        self._say(LogLine(message="trained"))
        print("the end of the log")  # noqa: T201  what a library prints lands in training.log
        description = ModelDescription(
            kind="pretrain",
            method="autoencoder",
            body=BodyDescription(
                architecture=MlpArchitecture(),
                input=InputKind.FEATURES,
                granularity=Granularity.EXAMPLE,
                input_shape=(4,),
                code_size=2,
            ),
            num_parameters=10,
        )
        self._trace("finish")
        self._say(
            FinishedLine(
                step=self._step, model_step=self._script.best_at or self._step, model=description, reason="duration"
            )
        )

    def _checkpoint(self) -> None:
        folder = self._assignment.output_dir / "checkpoints" / checkpoint_folder_name(self._step)
        contents = {
            f"{MODEL_FOLDER}/model.safetensors": self._weights,
            f"{MODEL_FOLDER}/config.json": "{}",
            f"{TRAINER_FOLDER}/state.json": json.dumps({"step": self._step, "weights": self._weights}),
        }
        if self._script.padding_bytes and self._step >= self._script.padded_at:
            contents[f"{TRAINER_FOLDER}/padding"] = "-" * self._script.padding_bytes
        files = tuple(_written(folder, path, text) for path, text in contents.items())
        manifest = CheckpointManifest(
            step=self._step,
            files=files,
            metrics={"validation_loss": 1 / self._step},
            is_best=self._script.best_at in (0, self._step),
            environment=self._environment(),
            model_digest=model_digest(files_within(MODEL_FOLDER, files)),
        )
        (folder / MANIFEST_NAME).write_text(manifest.model_dump_json())
        if self._step == self._script.damage_at and self._assignment.attempt <= self._script.faulty_attempts:
            (folder / MODEL_FOLDER / "model.safetensors").write_text("1" * 64)
        self._say(CheckpointLine(step=self._step, path=folder))

    def _resolved(self) -> Resolved:
        return self._assignment.resolved or Resolved(
            device="cpu",
            precision="fp32",
            compile=False,
            total_steps=self._script.steps,
            evaluate_every_steps=self._script.checkpoint_every,
            checkpoint_every_steps=self._script.checkpoint_every,
            gradient_accumulation_steps=self._assignment.spec.training.gradient_accumulation_steps,
            num_parameters=10,
            num_train_examples=8,
            num_validation_examples=2,
        )

    def _environment(self) -> Environment:
        build = self._assignment.attempt if self._script.environment_by_attempt else 0
        return Environment(torch=f"scripted-{build}", cpu_capability="none", num_threads=1, device="cpu")

    def _heed(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _say(self, line: ReportLine) -> None:
        self._report.write(line.model_dump_json() + "\n")
        self._report.flush()

    def _trace(self, what: str) -> None:
        if self._script.trace:
            line = f"{what} {self._assignment.job_id} {self._assignment.attempt} {os.getpid()} {self._step}\n"
            descriptor = os.open(self._script.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, line.encode())
            os.close(descriptor)


def _next_weights(weights: str, step: int) -> str:
    return hashlib.sha256(f"{weights} {step}".encode()).hexdigest()


def _resumed(folder: Path | None) -> tuple[int, str]:
    if folder is None:
        return 0, FIRST_WEIGHTS
    state = json.loads((folder / TRAINER_FOLDER / "state.json").read_text())
    return state["step"], state["weights"]


def _written(folder: Path, path: str, text: str) -> FileEntry:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
    return FileEntry(path=path, size_bytes=len(text), sha256=hashlib.sha256(text.encode()).hexdigest())


def _spin() -> None:
    """A loop in C that no signal handler of Python interrupts."""
    sum(range(10**13))


def main() -> None:
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("--report-fd", type=int, required=True)
    with os.fdopen(parser.parse_args().report_fd, "w") as report:
        report.write(ReadyLine().model_dump_json() + "\n")
        report.flush()
        if line := sys.stdin.readline():
            sys.exit(Training(Assignment.model_validate_json(line), report).run())


if __name__ == "__main__":
    main()
