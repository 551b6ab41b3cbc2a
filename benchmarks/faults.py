"""`python -m benchmarks.faults --runs 10`: the fault suite again and again, until it fails or has passed so often.

Writes docs/faults.md: where and when, how long each run took, and the times that the tests have measured on the way.
The tests judge by none of them: a time is a figure, and what must hold is an event.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "faults.md"
COMMAND = (sys.executable, "-m", "pytest", "-m", "faults", "tests/faults", "-x", "-o", "junit_family=xunit1")


@dataclass(frozen=True, slots=True)
class Run:
    """One pass through the suite. `measured`: seconds by what was measured."""

    passed: bool
    num_tests: int
    seconds: float
    measured: Mapping[str, Sequence[float]]


def run_once(report: Path) -> Run:
    began_at = time.monotonic()
    finished = subprocess.run([*COMMAND, "--junit-xml", str(report)], cwd=ROOT, check=False)
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  our own pytest has just written it
    measured: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        for entry in case.iter("property"):
            measured[entry.attrib["name"]].append(float(entry.attrib["value"]))
    return Run(finished.returncode == 0, len(cases), time.monotonic() - began_at, measured)


def document(runs: Sequence[Run], wanted: int, commit: str) -> str:
    return f"""# The fault suite: {len(runs)} of {wanted} runs in a row

Written by `make faults N=10`, which stops at the first failure. What the tests do: [reliability.md](reliability.md).

{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {_machine()}.

| run | tests passed | seconds |
|---|---|---|
{_lines(runs)}

Times measured on the way, in seconds over all runs. They hold the machine's other work: nothing was kept from it.

| from the fault on | times | median | longest |
|---|---|---|---|
{_figures(runs)}
"""


def _lines(runs: Sequence[Run]) -> str:
    return "\n".join(f"| {number} | {run.num_tests} | {run.seconds:.0f} |" for number, run in enumerate(runs, 1))


def _figures(runs: Sequence[Run]) -> str:
    together: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for what, seconds in run.measured.items():
            together[what] += seconds
    return "\n".join(
        f"| {what} | {len(seconds)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |"
        for what, seconds in sorted(together.items())
    )


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def _machine() -> str:
    return f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, {platform.system()}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1)
    wanted = parser.parse_args().runs
    runs: list[Run] = []
    commit = _commit()  # before the document is written, which would make it a changed one
    with tempfile.TemporaryDirectory() as folder:
        while len(runs) < wanted:
            run = run_once(Path(folder) / "report.xml")
            print(f"run {len(runs) + 1}: {'passed' if run.passed else 'FAILED'} in {run.seconds:.0f} s", flush=True)
            if not run.passed:
                return 1
            runs.append(run)
            DOCUMENT.write_text(document(runs, wanted, commit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
