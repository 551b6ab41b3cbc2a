"""Who may load what: import-linter's contracts, and what a fresh process really has loaded."""

import re
import subprocess
import sys
from importlib.metadata import distribution, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

#: Entry points of processes that must start quickly and stay small.
WITHOUT_TORCH = (
    "app.main",
    "app.cli",
    "app.embedded.service",
    "worker.celery_app",
    "app.records.validate",
    "app.tokenizer_check.process",
)
ROOT = Path(__file__).parents[2]
#: Every module of it, and a question of each of its two clients, which nobody answers.
USES_THE_CLIENT = """
import asyncio, pkgutil, sys
sys.path.append(sys.argv[1])
import pretune
for module in pkgutil.walk_packages(pretune.__path__, "pretune."):
    __import__(module.name)

async def ask():
    async with pretune.AsyncClient("http://127.0.0.1:9", max_retries=0) as client:
        await client.version()

for question in (pretune.Client("http://127.0.0.1:9", max_retries=0).version, lambda: asyncio.run(ask())):
    try:
        question()
    except pretune.NoAnswer as error:
        print(error)
"""
CONTRACT_NEEDS = ("sqlalchemy", "fastapi", "celery", "numpy", "redis")


def modules_after(*imported: str) -> set[str]:
    """What a fresh process has loaded, by the first part of each name."""
    code = f"import {', '.join(imported)}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("entry_point", WITHOUT_TORCH)
def test_torch_stays_out(entry_point: str) -> None:
    assert find_spec("torch") is not None
    assert "torch" not in modules_after(entry_point)


def test_the_api_loads_no_worker() -> None:
    assert "worker" not in modules_after("app.main", "app.housekeeping", "app.dispatch")


def test_the_training_process_loads_no_database_broker_or_server() -> None:
    assert not modules_after("worker.training_process") & {"sqlalchemy", "celery", "redis", "fastapi", "uvicorn"}


def test_the_contract_needs_pydantic_alone() -> None:
    loaded = modules_after("app.contract.specs", "app.contract.messages", "app.contract.errors", "app.contract.sizes")
    assert not loaded & {*CONTRACT_NEEDS, "torch"}


def test_the_client_needs_httpx2_and_pydantic_alone(tmp_path: Path) -> None:
    """And what these require: it is imported and used where nothing else is installed, nor anything of the service."""
    for name in required("httpx2") | required("pydantic"):
        installed = distribution(name)
        for part in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
            (tmp_path / part).symlink_to(str(installed.locate_file(part)))
    (tmp_path / "pretune").symlink_to(ROOT / "pretune")
    alone = [sys.executable, "-I", "-S", "-c", USES_THE_CLIENT, str(tmp_path)]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("No answer from http://127.0.0.1:9") == 2


def required(name: str) -> set[str]:
    """A distribution and, down to the last, what it requires on this machine."""
    found, waiting = set(), [name]
    while waiting:
        name = normal(waiting.pop())
        if name not in found:
            found.add(name)
            wanted = [Requirement(each) for each in requires(name) or ()]
            waiting += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_arrows_point_one_way() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
