"""The blocks of the README and of other documents, run as they stand, but for the address."""

import os
import re
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.e2e.running import RunningService

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INTERPRETERS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_walk_through(sqlite_service: RunningService, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    assert [language for language, _ in blocks] == ["sh", "python", "sh", "python"]
    shell, python, _, chat = (run(language, code, sqlite_service.url, tmp_path) for language, code in blocks)
    assert '"status":"succeeded"' in shell.replace(" ", "")
    for answer in ('"finish_reason"', '"embeddings"', '"scores"', '"job_id"'):
        assert answer in shell, answer
    assert '"aliases":["statements"]' in shell
    assert '"log_likelihood"' in shell
    assert (tmp_path / "model.zip").read_bytes().startswith(b"PK")
    assert "train_loss" in python
    assert chat == "Lima\n"


def test_the_document_of_the_client(sqlite_service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "manual.txt").write_text("\n".join(topics.values())[:40_000])
    (tmp_path / "reviews.csv").write_text("review,stars\n" + "a wonderful film,5\na dull film,1\n" * 20)
    told = [
        run(language, code, sqlite_service.url, tmp_path)
        for language, code in BLOCK.findall((ROOT / "docs" / "python-client.md").read_text())
    ]
    assert "'label': '" in told[0]
    assert "succeeded" in told[0]
    assert told[1].count("'") == 4, "a label for each of two texts"


def test_the_document_of_sweeps(sqlite_service: RunningService, tmp_path: Path) -> None:
    python, shell = (
        run(language, code, sqlite_service.url, tmp_path)
        for language, code in BLOCK.findall((ROOT / "docs" / "sweeps.md").read_text())
    )
    assert "succeeded {'training.optimizer.learning_rate': " in python
    assert "4 of 4 trials have ended." in python
    for told in ("sums", "complete", "deviation", "number,state,mean,standard_deviation,step,training.optimizer"):
        assert told in shell, told


def test_the_document_of_evaluations(sqlite_service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "manual.txt").write_text("\n".join(topics.values())[:40_000])
    for name, count in (("reviews.csv", 40), ("held-out.csv", 60)):
        rows = "".join(f"a wonderful film of {n} acts,5\na dull film of {n} acts,1\n" for n in range(count))
        (tmp_path / name).write_text("review,stars\n" + rows)
    python, shell = (
        run(language, code, sqlite_service.url, tmp_path)
        for language, code in BLOCK.findall((ROOT / "docs" / "evaluation.md").read_text())
    )
    for told in ("accuracy: ", "calibration_error: ", "On 120 examples the accuracy of model_"):
        assert told in python, told
    for told in ("precision", "120 examples", "better", "p = "):
        assert told in shell, told
    assert (tmp_path / "units.npz").read_bytes().startswith(b"PK")


def test_the_tutorial_and_what_goes_on_from_it(sqlite_service: RunningService, tmp_path: Path) -> None:
    """In one terminal, as a reader has them."""
    documents = [(ROOT / "docs" / name).read_text() for name in ("tutorial.md", "how-to.md")]
    blocks = [block for document in documents for block in BLOCK.findall(document)]
    told = run("sh", "".join(in_a_shell(language, code) for language, code in blocks), sqlite_service.url, tmp_path)
    assert told.count('{"label": "5"') >= 1
    assert '"label":"1"' in told.replace(" ", "")
    assert "exit code 4" in told
    assert "# Overfitting" in told
    assert "model.safetensors" in told
    assert 'pretune_queue_oldest_job_age_seconds{queue="cpu"}' in told
    assert "/errors/validation_failed" in told


def in_a_shell(language: str, code: str) -> str:
    return code if language == "sh" else f"python - <<'END_OF_PYTHON'\n{code}END_OF_PYTHON\n"


def run(language: str, code: str, url: str, folder: Path) -> str:
    command = [*INTERPRETERS[language], code.replace("http://127.0.0.1:8080", url)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PRETUNE_URL": url, "PATH": path}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
