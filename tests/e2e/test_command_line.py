"""The command line against a real service, as a user types it."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import RunningService, environment_of
from tests.e2e.specs import LONG, finetune, pretrain, reviews_file, text_file
from tests.support.waiting import wait_until

#: A machine may be busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SECONDS = 120.0

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pretune(sqlite_service: RunningService) -> Run:
    """Run a command to its end; its standard output is told to be right, or `status` expected."""

    def run(*arguments: str, status: int = 0, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        environment = environment_of({"PRETUNE_URL": sqlite_service.url})
        command = [sys.executable, "-m", "app.cli", *arguments]
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        return done

    return run


def test_from_a_file_to_an_answer(pretune: Run, tmp_path: Path) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path)), "--kind", "text").stdout.strip()
    reviews = pretune("datasets", "upload", str(reviews_file(tmp_path)), "--name", "reviews").stdout.strip()
    assert reviews in pretune("datasets", "list").stdout
    assert json.loads(pretune("datasets", "show", reviews).stdout)["name"] == "reviews"
    records = [json.loads(line) for line in pretune("datasets", "preview", reviews, "-n", "3").stdout.splitlines()]
    assert [record["label"] for record in records] == ["good"] * 3

    asked = pretune("submit", "-f", "-", "-y", "--detach", text=json.dumps(pretrain(text)))
    parent = asked.stdout.strip()
    assert "20" in asked.stderr
    watched = pretune("submit", "-f", "-", "-y", "--json", text=json.dumps(finetune(parent, reviews)))
    child = json.loads(watched.stdout)
    assert child["status"] == "succeeded"

    assert pretune("attach", parent).stdout.strip().startswith("model_")
    assert [job["id"] for job in json.loads(pretune("ps", "--json", "-n", "2").stdout)] == [child["id"], parent]
    assert "succeeded" in pretune("ps", "--status", "succeeded").stdout
    assert child["model_id"] in pretune("show", child["id"]).stdout
    assert "succeeded" in pretune("logs", child["id"]).stdout
    events = [json.loads(line) for line in pretune("logs", child["id"], "-f", "--json").stdout.splitlines()]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))

    log = pretune("artifacts", parent, "training.log", "--to", str(tmp_path / "log")).stdout.strip()
    assert Path(log).exists()
    assert "overfitting-report.json" in pretune("artifacts", parent).stdout

    assert pretune("models", "alias", child["model_id"], "judge").stdout == f"judge means {child['model_id']}.\n"
    assert "judge" in pretune("models", "list", "--method", "classification").stdout
    assert json.loads(pretune("models", "alias", "judge", "other", "--json").stdout)["aliases"] == ["judge", "other"]
    assert json.loads(pretune("models", "alias", "judge", "other", "--remove", "--json").stdout)["aliases"] == ["judge"]
    assert json.loads(pretune("models", "load", "judge", "--json").stdout)["model_id"] == child["model_id"]
    assert json.loads(pretune("models", "pin", "judge", "--json").stdout)["pinned"] is True
    assert json.loads(pretune("models", "pin", "judge", "--remove", "--json").stdout)["pinned"] is False
    assert json.loads(pretune("models", "unload", "judge", "--json").stdout)["model_id"] == child["model_id"]
    assert "is on wrk_" in pretune("models", "load", "judge").stdout
    assert "is pinned" in pretune("models", "pin", "judge").stdout
    assert "pinned" in pretune("models", "unload", "judge", status=1).stderr
    assert "no longer pinned" in pretune("models", "pin", "judge", "--remove").stdout
    assert "on no replica" in pretune("models", "unload", "judge").stdout
    [output] = map(json.loads, pretune("predict", "judge", "soup was superb today").stdout.splitlines())
    assert output["label"] == "good"
    asked_for_all = json.dumps({"kind": "batch_predict", "model": "judge", "dataset": reviews})
    answered = pretune("submit", "-f", "-", "-y", text=asked_for_all).stdout.strip()
    into = str(tmp_path / "answers.jsonl")
    pretune("artifacts", answered, "predictions.jsonl", "--to", into)
    assert len(Path(into).read_text().splitlines()) == 40
    lines = "film was dismal today\n" + json.dumps("hat was splendid today") + "\n"
    answers = pretune("predict", "judge", "-f", "-", text=lines).stdout.splitlines()
    assert [json.loads(line)["label"] for line in answers] == ["bad", "good"]
    model = json.loads(pretune("show", parent, "--json").stdout)["model_id"]
    generation = ("generate", model, "The", "--max-tokens", "12", "--seed", "3")
    assert pretune(*generation).stdout == json.loads(pretune(*generation, "--json").stdout)["text"] + "\n"
    assert len(json.loads(pretune("embed", model, "The").stdout)) == 32
    archive = pretune("models", "download", model, "--to", str(tmp_path / "model.zip")).stdout.strip()
    assert json.loads(pretune("models", "download", model, "--to", archive, "--json").stdout) == {"path": archive}
    imported = pretune("models", "import", archive, "--name", "again").stdout.strip()
    assert json.loads(pretune("models", "show", imported).stdout)["name"] == "again"
    assert "is deleted" in pretune("models", "delete", imported, "-y").stdout
    again = pretune("models", "import", archive).stdout.strip()
    assert json.loads(pretune("models", "delete", again, "-y", "--json").stdout)["blocked_by"] == []


def test_a_long_job_is_stopped_and_taken_up_and_cloned(pretune: Run, tmp_path: Path) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path))).stdout.strip()
    spec = tmp_path / "job.json"
    spec.write_text(json.dumps(pretrain(text, **LONG)))
    job = pretune("submit", "-f", str(spec), "-y", "--detach").stdout.strip()

    def status() -> str:
        return str(json.loads(pretune("show", job, "--json").stdout)["status"])

    wait_until(lambda: status() == "running", SECONDS, "it runs")
    assert pretune("pause", job).stdout.startswith(f"{job} is paus")
    wait_until(lambda: status() == "paused", SECONDS, "it has paused")
    assert "queued" in pretune("resume", job).stdout
    assert "cancel" in pretune("cancel", job).stdout
    wait_until(lambda: status() == "cancelled", SECONDS, "it was cancelled")
    assert "cancelled" in pretune("attach", job, status=4).stderr

    short = pretune("clone", job, "--set", "training.duration.steps=20", "--set", "name=short", "-y", "--json").stdout
    cloned = json.loads(short)
    assert (cloned["name"], cloned["status"], cloned["progress"]["total_steps"]) == ("short", "succeeded", 20)
    assert "training.duraton" in pretune("clone", job, "--set", "training.duraton=1", "-y", status=1).stderr
    assert "frees" in pretune("delete", job, "-y").stderr
    assert "no job" in pretune("show", job, status=1).stderr.lower()


def test_a_sweep_is_sent_and_watched_or_not(pretune: Run, tmp_path: Path) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path))).stdout.strip()
    search = {"training.optimizer.learning_rate": {"type": "log_uniform", "low": 1e-4, "high": 1e-2}}
    sweep = {"name": "rates", "job": pretrain(text), "search": search, "trials": 2}
    submit = ("sweep", "submit", "-f", "-")

    watched = pretune(*submit, text=json.dumps(sweep))
    model = watched.stdout.strip()
    assert json.loads(pretune("models", "show", model).stdout)["id"] == model
    assert "2 of 2 trials have ended." in watched.stderr
    [listed] = json.loads(pretune("sweep", "ps", "--json", "-n", "1").stdout)
    assert (listed["name"], listed["status"], listed["model_id"]) == ("rates", "succeeded", model)
    assert "complete" in pretune("sweep", "show", listed["id"]).stdout
    to = str(tmp_path / "trials.csv")
    assert json.loads(pretune("sweep", "csv", listed["id"], "--to", to, "--json").stdout) == {"path": to}
    assert len(Path(to).read_text().splitlines()) == 3

    long = sweep | {"job": pretrain(text, **LONG)}
    detached = json.loads(pretune(*submit, "--detach", "--json", text=json.dumps(long)).stdout)
    assert detached["status"] == "running"
    assert detached["id"] in pretune("sweep", "cancel", detached["id"]).stdout
    for wrong, told in (({}, "job"), (sweep | {"trials": 0}, "trials"), (sweep | {"tirals": 3}, "tirals")):
        refused = pretune(*submit, text=json.dumps(wrong), status=1)
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr


def test_without_a_terminal_nothing_is_asked_and_nothing_is_sent(pretune: Run, tmp_path: Path) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path))).stdout.strip()
    before = listed(pretune)
    refused = pretune("submit", "-f", "-", text=json.dumps(pretrain(text)), status=2)
    assert "-y says yes" in refused.stderr
    assert listed(pretune) == before


def test_ctrl_c_stops_the_watching_and_not_the_job(
    pretune: Run, sqlite_service: RunningService, tmp_path: Path
) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path))).stdout.strip()
    job = pretune("submit", "-f", "-", "-y", "--detach", text=json.dumps(pretrain(text, **LONG))).stdout.strip()
    command = [sys.executable, "-m", "app.cli", "logs", "-f", job]
    environment = environment_of({"PRETUNE_URL": sqlite_service.url})
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509  no thread of ours holds a lock that the child would need
    ) as watch:
        assert watch.stdout is not None
        while "running" not in watch.stdout.readline():
            pass
        watch.send_signal(signal.SIGINT)
        _, told = watch.communicate(timeout=SECONDS)
    assert watch.returncode == 130
    assert f"{job} goes on" in told
    with sqlite_service.client() as client:
        seen = client.jobs.get(job).progress.step
        wait_until(lambda: client.jobs.get(job).progress.step > seen, SECONDS, "it goes on")
        client.jobs.get(job).cancel()


def test_in_a_terminal_it_asks_first(sqlite_service: RunningService, pretune: Run, tmp_path: Path) -> None:
    text = pretune("datasets", "upload", str(text_file(tmp_path))).stdout.strip()
    spec = tmp_path / "job.yaml"
    spec.write_text(json.dumps(pretrain(text)))
    before = listed(pretune)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "app.cli", "submit", "-f", str(spec)]
    environment = environment_of({"PRETUNE_URL": sqlite_service.url})
    with subprocess.Popen(command, env=environment, stdin=follower, stderr=subprocess.PIPE) as asked:
        os.close(follower)
        os.write(leader, b"n\n")
        _, told = asked.communicate(timeout=SECONDS)
    os.close(leader)
    assert asked.returncode == 1
    assert b"parameters" in told
    assert b"Nothing was done" in told
    assert listed(pretune) == before


def listed(pretune: Run) -> list[str]:
    return [job["id"] for job in json.loads(pretune("ps", "--json").stdout)]


def heed_interrupts() -> None:
    """As in a terminal, also where we were started in the background, which ignores them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_doctor_finds_nothing_wrong(pretune: Run) -> None:
    told = pretune("doctor").stdout
    assert "WRONG" not in told
    assert "trainer processes: 1 live" in told
