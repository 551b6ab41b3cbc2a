"""The README's first command: it teaches real models real things, and every curl line that it prints works."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.background import stop
from app.embedded.lock import holder_of
from pretune import Client
from pretune.views import Json
from tests.e2e.running import environment_of

CURL_LINE = re.compile(r"^  \$ (curl .*)$", re.MULTILINE)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


def demo(data_dir: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", "demo", "--data-dir", str(data_dir), "--json"]
    return subprocess.run(command, env=environment_of({}), capture_output=True, text=True, check=True)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    stop(tmp_path / "data", 60)


def test_the_demo(data_dir: Path) -> None:
    finished = demo(data_dir)
    results = json.loads(finished.stdout)
    assert results["bits_per_character"] <= 2.4 < results["bits_per_character_by_letter_counts"]
    assert results["accuracy"] >= 0.62 > results["accuracy_of_majority"]

    with Client(results["url"]) as client:
        shown = CURL_LINE.findall(finished.stderr)
        sampling = {"max_tokens": 60, "temperature": 0.8, "seed": 1}
        written = client.models.generate(results["language_model"], "KING HENRY", **sampling)
        assert [curl(line) for line in shown if "/generate" in line] == [written.model_dump(exclude_unset=True)]
        answers = [curl(line) for line in shown if "/events" not in line and "/generate" not in line]
        assert len(answers) == 5  # two uploads, two jobs, one prediction
        for job in (answer["id"] for answer in answers if "method" in answer.get("spec", {})):
            client.jobs.get(job).cancel()

    assert holder_of(data_dir) is not None, "the service goes on"


def curl(line: str) -> Json:
    answer = subprocess.run(["bash", "-c", f"{line} --fail --silent"], capture_output=True, text=True, check=True)
    parsed: Json = json.loads(answer.stdout)
    return parsed
