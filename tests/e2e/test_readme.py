"""The README's walk-through, word by word: its blocks are run as they stand, but for the address."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import RunningService

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INTERPRETERS = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_walk_through(sqlite_service: RunningService, tmp_path: Path) -> None:
    blocks = BLOCK.findall(README.read_text())
    assert [language for language, _ in blocks] == ["sh", "python", "sh", "python"]
    shell, python, _, chat = (run(language, code, sqlite_service.url, tmp_path) for language, code in blocks)
    assert '"status":"succeeded"' in shell.replace(" ", "")
    for answer in ('"finish_reason"', '"embeddings"', '"scores"', '"job_id"'):
        assert answer in shell, answer
    assert '"aliases":["statements"]' in shell
    assert '"log_likelihood"' in shell
    assert (tmp_path / "model.zip").read_bytes().startswith(b"PK")
    assert "succeeded" in python
    assert chat == "Lima\n"


def run(language: str, code: str, url: str, folder: Path) -> str:
    command = [*INTERPRETERS[language], code.replace("http://127.0.0.1:8080", url)]
    environment = os.environ | {"PYTHONPATH": str(README.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
