"""The command line, as processes: exit codes, streams, and what is not imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.running import environment_of


def pretune(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, env=environment_of({}), capture_output=True, text=True, timeout=60, check=False)


def test_the_version_is_the_packages_own() -> None:
    answer = pretune("version", "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["version"].count(".") == 2


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "sqlalchemy", "fastapi", "celery", "httpx2"}
    script = f"import sys, app.cli; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_an_unknown_option_is_a_usage_error() -> None:
    answer = pretune("up", "--colour", "blue")
    assert answer.returncode == 2
    assert "--colour" in answer.stderr


def test_down_tells_that_nothing_runs(tmp_path: Path) -> None:
    answer = pretune("down", "--data-dir", str(tmp_path))
    assert answer.returncode == 3
    assert f"No service runs on {tmp_path}" in answer.stderr


@pytest.mark.parametrize("command", [("smoke",), ("demo",)])
def test_a_service_that_does_not_answer_is_one_line_and_no_traceback(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = f"""
import sys, app.client.smoke, app.client.demo
app.client.smoke.READY_SECONDS = app.client.demo.READY_SECONDS = 0.0
sys.argv = ["pretune", {command[0]!r}, "--url", "http://127.0.0.1:9"]
from app.cli import main
main()
"""
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("pretune: The service does not answer")
    assert "Traceback" not in answer.stderr


def test_migrate_makes_the_schema_and_may_be_repeated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    for _ in range(2):
        answer = subprocess.run(
            [sys.executable, "-m", "app.cli", "migrate"],
            env=environment_of({"PRETUNE_DATABASE_URL": url}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (answer.returncode, answer.stdout) == (0, "The database is up to date.\n")
