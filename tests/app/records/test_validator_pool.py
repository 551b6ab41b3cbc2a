"""Files are judged in a child: its memory is flat, its limits hold, and what kills it kills nothing else."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.processes import ChildStarter
from app.records import InvalidDataset, pool
from app.records.pool import ValidatorPool, ValidatorsBusy, ValidatorUnavailable
from tests.app.records.files import csv_of, jsonl, npz, write

MIB = 1 << 20


@pytest.fixture(scope="module")
def starter() -> ChildStarter:
    return ChildStarter()


@pytest.fixture
def validators(starter: ChildStarter) -> Iterator[ValidatorPool]:
    made = ValidatorPool(starter, memory_bytes=64 * MIB, timeout_seconds=60)
    yield made
    made.close()


def test_a_report_comes_back_whole(validators: ValidatorPool, tmp_path: Path) -> None:
    path = write(tmp_path, csv_of(["text", "label"], ["a", "x"], ["bb", "y"]))
    report = validators.inspect(path, "a.csv", None, None)
    assert (report.kind, report.num_examples, report.columns) == ("labeled_text", 2, {"text": "text", "label": "label"})
    assert report.profile["labels"] == {"x": 1, "y": 1}


def test_errors_come_back_located_and_counted(validators: ValidatorPool, tmp_path: Path) -> None:
    path = write(tmp_path, jsonl({"text": "a", "label": 1}, *({"text": "", "label": 1} for _ in range(30))))
    with pytest.raises(InvalidDataset) as caught:
        validators.inspect(path, "a.jsonl", "labeled_text", {})
    assert (caught.value.total, len(caught.value.errors)) == (30, 20)
    assert caught.value.errors[0].location == "line 2"


@pytest.mark.parametrize(
    ("filename", "head", "record"),
    [
        ("a.txt", "", "The quick brown fox jumps over the lazy dog. " * 20 + "\n"),
        ("a.csv", "text,label\n", '"The quick brown fox jumps over the lazy dog. ' + "x" * 1000 + '",{n}\n'),
        (
            "a.jsonl",
            "",
            '{{"text": "The quick brown fox jumps over the lazy dog. ' + "x" * 1000 + '", "label": {n}}}\n',
        ),
    ],
)
def test_memory_stays_flat_over_100_megabytes(
    validators: ValidatorPool, tmp_path: Path, filename: str, head: str, record: str
) -> None:
    path = tmp_path / "blob"
    with path.open("w") as file:
        file.write(head)
        for start in range(0, 100_000, 1_000):
            file.write("".join(record.format(n=n % 3) for n in range(start, start + 1_000)))
    assert path.stat().st_size > 80 * MIB
    report = validators.inspect(path, filename, None, None)  # within 64 MiB
    assert report.num_examples == (1 if filename == "a.txt" else 100_000)


def test_a_file_that_needs_more_memory_than_the_limit_is_refused(validators: ValidatorPool, tmp_path: Path) -> None:
    path = write(tmp_path, npz(features=np.asfortranarray(np.random.default_rng(0).normal(size=(3_000_000, 4)))))
    with pytest.raises(InvalidDataset, match="more than 64 MiB of memory"):
        validators.inspect(path, "a.npz", None, None)


def test_a_file_that_takes_too_long_is_refused_and_its_validator_is_gone(starter: ChildStarter, tmp_path: Path) -> None:
    validators = ValidatorPool(starter, memory_bytes=64 * MIB, timeout_seconds=1.0)
    os.mkfifo(tmp_path / "never")  # opening it waits for a writer
    with pytest.raises(InvalidDataset, match="longer than 1 seconds"):
        validators.inspect(tmp_path / "never", "a.csv", None, None)
    assert not validators._busy
    validators.close()


def test_a_validator_that_dies_reading_a_file_blames_the_file(
    starter: ChildStarter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "COMMAND", ("sh", "-c", "echo ready; read line; kill -SEGV $$"))
    validators = ValidatorPool(starter, memory_bytes=MIB, timeout_seconds=10)
    with pytest.raises(InvalidDataset, match=r"exit code -11.*damaged, or needs more than 1 MiB"):
        validators.inspect(write(tmp_path, "x"), "a.csv", None, None)
    validators.close()


@pytest.mark.parametrize("command", [("false",), ("/does/not/exist",)])
def test_a_validator_that_never_was_ready_is_our_fault(
    starter: ChildStarter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(pool, "COMMAND", command)
    validators = ValidatorPool(starter, memory_bytes=MIB, timeout_seconds=10)
    with pytest.raises(ValidatorUnavailable):
        validators.inspect(write(tmp_path, "x"), "a.csv", None, None)
    validators.close()


def test_a_file_that_is_not_there_is_our_fault(validators: ValidatorPool, tmp_path: Path) -> None:
    with pytest.raises(ValidatorUnavailable, match="No such file"):
        validators.inspect(tmp_path / "gone", "a.csv", None, None)


def _wait_until_busy(validators: ValidatorPool) -> None:
    deadline = time.monotonic() + 30
    while not validators._busy:
        assert time.monotonic() < deadline, "no validator took the file"
        time.sleep(0.005)


def test_more_files_than_turns_are_told_to_come_again(
    starter: ChildStarter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TURN_SECONDS", 0.05)
    validators = ValidatorPool(starter, memory_bytes=64 * MIB, timeout_seconds=60, max_running=1)
    os.mkfifo(tmp_path / "slow")
    done: list[InvalidDataset] = []

    def judge_slowly() -> None:
        with pytest.raises(InvalidDataset) as caught:
            validators.inspect(tmp_path / "slow", "a.csv", None, None)
        done.append(caught.value)

    first = threading.Thread(target=judge_slowly)
    first.start()
    _wait_until_busy(validators)
    with pytest.raises(ValidatorsBusy):
        validators.inspect(tmp_path / "slow", "a.csv", None, None)
    with (tmp_path / "slow").open("wb"):  # lets the validator open the other end, and find nothing
        first.join(30)
    assert len(done) == 1
    validators.close()


def test_closing_ends_the_spare_and_whoever_is_busy(starter: ChildStarter, tmp_path: Path) -> None:
    validators = ValidatorPool(starter, memory_bytes=64 * MIB, timeout_seconds=60)
    validators.warm()
    os.mkfifo(tmp_path / "never")
    outcome: list[Exception] = []

    def wait_for_ever() -> None:
        try:
            validators.inspect(tmp_path / "never", "a.csv", None, None)
        except ValidatorUnavailable as error:
            outcome.append(error)

    waiting = threading.Thread(target=wait_for_ever)
    waiting.start()
    _wait_until_busy(validators)
    validators.close()
    waiting.join(30)
    assert len(outcome) == 1
    with pytest.raises(ValidatorUnavailable, match="shutting down"):
        validators.inspect(tmp_path / "never", "a.csv", None, None)
