"""docs/performance.md: every benchmark writes its own section, and leaves the others' and all prose alone."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"


def write_section(name: str, table: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- end of name -->` by the table and where it comes from.

    Raises ValueError where the document has no such section.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, after = text[: text.index(begin) + len(begin)], text[text.index(end) :]
    DOCUMENT.write_text(f"{before}\n{provenance()}\n\n{table.strip()}\n\n{after}", encoding="utf-8")


def provenance() -> str:
    """How this process was called, on what and when: what it takes to repeat it. Of a `python -m`."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    command = shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *arguments])
    return (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, {os.cpu_count()} cores "
        f"({platform.machine()}), torch {version('torch')}."
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
