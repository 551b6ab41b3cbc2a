"""Contestants take turns on the same cores: one computes, the others stand still. Knows nothing of what they do."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from app.processes import ChildStarter, die_with_parent, kill_group
from benchmarks.serving.load import cpu_seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """`tokens` are real ones, without padding; `seconds` those of its steps, and `cpu_seconds` of all cores in them."""

    tokens: float
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        return self.tokens / self.seconds

    @property
    def rate_of_cpu(self) -> float:
        """Tokens a second, had all cores that we may use been ours alone: the rate itself where they were."""
        return self.tokens / self.cpu_seconds * len(os.sched_getaffinity(0))


class Contestant(Protocol):
    def turn(self) -> Turn:
        """Compute for a while. The first turn is a warm-up: it holds imports and compilation."""

    def close(self) -> None: ...


class Script:
    """A process that computes when it is told to, as the module docstring of `benchmarks.training.contestants` says."""

    def __init__(
        self, starter: ChildStarter, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self._log = log
        with log.open("wb") as file:
            self._process = starter.start(
                (sys.executable, "-m", "benchmarks.training.contestants", *arguments),
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )

    def turn(self) -> Turn:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        began, computed = time.perf_counter(), cpu_seconds({self._process.pid})
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        if not told:
            raise RuntimeError(f"A contestant has died:\n{self._log.read_text()}")
        seconds = time.perf_counter() - began
        return Turn(float(told), seconds, cpu_seconds({self._process.pid}) - computed)

    def close(self) -> None:
        kill_group(self._process)
        self._process.wait()


class Whistle:
    """The script's end of it. What libraries print goes to the log: stdout is for the tokens of each turn alone."""

    def __init__(self) -> None:
        die_with_parent()
        self._told = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._wait()

    def turn_over(self, tokens: float) -> None:
        """Returns when the next turn begins; never, if there is none."""
        print(tokens, file=self._told, flush=True)
        self._wait()

    def _wait(self) -> None:
        if not sys.stdin.readline():
            os._exit(0)


@dataclass
class Figures:
    """Of one contestant over all rounds."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [turn.rate for turn in self.turns]

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def rate_of_cpu(self) -> float:
        return statistics.median(turn.rate_of_cpu for turn in self.turns)


Measured = dict[str, Figures]


def in_turns(contestants: Mapping[str, Callable[[], Contestant]], rounds: int) -> Measured:
    """Each is started and warmed up alone, then all take turns, round after round."""
    running: dict[str, Contestant] = {}
    try:
        for name, start in contestants.items():
            running[name] = start()
            running[name].turn()
        found = {name: Figures() for name in running}
        for _ in range(rounds):
            for name, contestant in running.items():
                found[name].turns.append(contestant.turn())
        return found
    finally:
        for contestant in running.values():
            contestant.close()


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Of the medians, and the range of the rounds' own: `1.62 (1.55 to 1.70)`."""
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ours) / statistics.median(theirs):.2f} ({min(each):.2f} to {max(each):.2f})"
