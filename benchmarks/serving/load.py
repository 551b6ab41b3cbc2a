"""Load on an HTTP server by `wrk`, which takes a twentieth of a core where a client in Python takes a whole one."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s) *$", re.MULTILINE)
_COUNT = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_FAILURES = re.compile(r"^\s*(Non-2xx|Socket errors).*$", re.MULTILINE)
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Target:
    """Where one question is asked again and again, and the groups of processes that answer it."""

    url: str
    body: dict[str, object]
    groups: Collection[int]
    key: str | None = None

    def script(self) -> str:
        """In wrk's Lua. JSON writes a string as Lua reads it, as long as it is ASCII without escapes by \\u."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
        return "\n".join(['wrk.method = "POST"', f"wrk.body = {json.dumps(json.dumps(self.body))}", *lines])


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second, and milliseconds. `cpu` is what the server's processes computed for a request, which a busy
    neighbour changes the least.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        sys.exit("The load comes from wrk, which is not installed here: apt-get install wrk")


def measured(target: Target, folder: Path, *, concurrency: int, seconds: int) -> Figures:
    """Raises RuntimeError where an answer was none."""
    script = folder / "wrk.lua"
    script.write_text(target.script(), encoding="ascii")
    command = ["wrk", "--latency", "-t1", f"-c{concurrency}", f"-d{seconds}s", "-s", str(script), target.url]
    before = cpu_seconds(target.groups)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    computed_seconds = cpu_seconds(target.groups) - before
    rates = _RATE.findall(told)
    latencies = {share: float(value) * _MILLISECONDS[unit] for share, value, unit in _LATENCY.findall(told)}
    if _FAILURES.search(told) or not rates or latencies.keys() != {"50", "99"}:
        raise RuntimeError(f"{target.url} does not answer in order:\n{told}")
    [count] = _COUNT.findall(told)
    return Figures(float(rates[0]), latencies["50"], latencies["99"], 1000 * computed_seconds / int(count))


def cpu_seconds(groups: Collection[int]) -> float:
    """Of all processes of the groups, in user and in kernel mode."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[2]) in groups:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
