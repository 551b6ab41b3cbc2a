"""`python -m tests.support.sync_client`: writes pretune/_sync out of pretune/_async: the same client, blocking."""

import subprocess
import sys
from pathlib import Path

from unasync import Rule, unasync_files

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "pretune" / "_async"
NAMES = {
    "_async": "_sync",
    "asyncio": "time",
    "aclosing": "closing",
    "aclose": "close",
    "aread": "read",
    "aiter_bytes": "iter_bytes",
    "aiter_lines": "iter_lines",
} | {
    f"Async{name}": name
    for name in (
        "Bound",
        "Client",
        "Dataset",
        "Datasets",
        "Http",
        "Job",
        "Jobs",
        "Evaluations",
        "Keys",
        "Model",
        "Models",
        "Sweep",
        "Sweeps",
        "Webhooks",
        "Workers",
    )
}


def write(folder: Path) -> None:
    """The modules of the synchronous client, formatted."""
    rule = Rule(fromdir=f"{SOURCE}/", todir=f"{folder}/", additional_replacements=NAMES)
    unasync_files([str(path) for path in sorted(SOURCE.glob("*.py"))], [rule])
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--quiet", "--config", str(ROOT / "pyproject.toml"), str(folder)]
    subprocess.run([*ruff, "check", "--fix", "--unsafe-fixes", "--select", "I,SIM117,UP028", *options], check=True)
    subprocess.run([*ruff, "format", *options], check=True)


if __name__ == "__main__":
    write(ROOT / "pretune" / "_sync")
