"""Measures rows one by one, keeps each that is done, and writes the table.

`benchmarks/results` holds a line for each row and seed that is done: a second call goes on where the first was broken
off, and measures anew what code or profile have changed.
"""

import dataclasses
import json
import os
import platform
import time
import traceback
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import torch

from benchmarks.quality.bench import FAST, FULL, ROOT, Bench, Profile
from benchmarks.quality.rows import RESULTS_FOLDER, MissingData, Row

PROFILES = {profile.name: profile for profile in (FAST, FULL)}
DOCUMENTS = {"fast": ROOT / "docs" / "quality-fast.md", "full": ROOT / "docs" / "quality.md"}


@dataclass(frozen=True, slots=True)
class Result:
    """A row and seed that is done."""

    row: str
    seed: int
    digest: str
    scale: float
    score: float
    baseline: float
    asked: float | None
    parameters: int
    steps: tuple[int, ...]
    seconds: float
    notes: tuple[str, ...]


class Results:
    """Lines of JSON, the newest of a row and seed the one that counts."""

    def __init__(self, profile: Profile) -> None:
        self._path = RESULTS_FOLDER / f"{profile.name}.jsonl"
        self._scale = profile.scale
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self._found = {(each.row, each.seed): each for each in map(_read, lines)}

    def of(self, row: Row, seed: int) -> Result | None:
        found = self._found.get((row.name, seed))
        return found if found and (found.digest, found.scale) == (row.digest, self._scale) else None

    def add(self, result: Result) -> None:
        self._found[result.row, result.seed] = result
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(result)) + "\n")


def run(rows: Sequence[Row], arguments: Sequence[str]) -> int:
    """-> the exit code: 0 where all that is asked for was reached"""
    options = _parsed(rows, arguments)
    profile = dataclasses.replace(PROFILES[options.profile], scale=options.scale)
    chosen = [row for row in rows if not options.only or row.name in options.only]
    results, skipped, broken = Results(profile), dict[str, str](), list[str]()
    for row in chosen:
        try:
            for seed in profile.seeds:
                _tell(row, results.of(row, seed) or _measured(row, profile, seed, results))
        except MissingData as missing:
            skipped[row.name] = str(missing)
            print(f"{row.name}: SKIPPED. {missing}", flush=True)
        except Exception:  # noqa: BLE001  the other rows are worth their numbers
            broken.append(row.name)
            traceback.print_exc()
    table = _Table(chosen, profile, results)
    print("\n" + table.rendered())
    if options.write:
        DOCUMENTS[profile.name].write_text(_document(table, profile, skipped), encoding="utf-8")
    missed = table.missed()
    print(*(f"MISSED: {each}" for each in missed), *(f"BROKEN: {each}" for each in broken), sep="\n")
    return int(bool(missed or broken))


def _parsed(rows: Sequence[Row], arguments: Sequence[str]) -> "_Options":
    parser = ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("profile", nargs="?", choices=PROFILES, default="fast")
    parser.add_argument("--only", nargs="+", choices=[row.name for row in rows], metavar="ROW", default=[])
    parser.add_argument("--scale", type=float, default=1.0, help="of every duration: 0.01 to see that rows start")
    parser.add_argument("--write", action="store_true", help="the table into docs/")
    return _Options(**vars(parser.parse_args(arguments)))


@dataclass(frozen=True, slots=True)
class _Options:
    profile: str
    only: list[str]
    scale: float
    write: bool


def _measured(row: Row, profile: Profile, seed: int, results: Results) -> Result:
    began = time.perf_counter()
    measured = row.measure(Bench(RESULTS_FOLDER / "bench", profile, seed))
    result = Result(
        row=row.name,
        seed=seed,
        digest=row.digest,
        scale=profile.scale,
        score=measured.score,
        baseline=measured.baseline,
        asked=measured.asked,
        parameters=measured.trained.description.num_parameters,
        steps=measured.trained.steps,
        seconds=measured.trained.seconds,
        notes=measured.notes,
    )
    results.add(result)
    print(f"{row.name}, seed {seed}: {time.perf_counter() - began:.0f} s", flush=True)
    return result


def _tell(row: Row, result: Result) -> None:
    figures = f"{result.score:.{row.digits}f}, {row.baseline} {result.baseline:.{row.digits}f}"
    print(f"{row.name}, seed {result.seed}: {row.score} {figures}", *result.notes, sep="\n  ", flush=True)


def _read(line: str) -> Result:
    fields = json.loads(line)
    return Result(**fields | {"steps": tuple(fields["steps"]), "notes": tuple(fields["notes"])})


class _Table:
    """Medians over the seeds of rows that are done."""

    def __init__(self, rows: Sequence[Row], profile: Profile, results: Results) -> None:
        found = {row.name: (row, [results.of(row, seed) for seed in profile.seeds]) for row in rows}
        self._done = {
            name: (row, [result for result in of_row if result is not None])
            for name, (row, of_row) in found.items()
            if None not in of_row
        }

    def rendered(self) -> str:
        header = ["method", "data", "score", "baseline", "asked", "parameters", "steps", "seconds"]
        lines = [header, ["---"] * len(header), *(self._cells(*each) for each in self._done.values())]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)

    def notes(self) -> Iterator[str]:
        for row, results in self._done.values():
            if results[0].notes:
                yield f"{row.method}, {row.data}:\n\n" + "\n".join(f"- {note}" for note in results[0].notes) + "\n"

    def missed(self) -> list[str]:
        """What was asked for and not reached."""
        return [missed for row, results in self._done.values() for missed in self._missed_by(row, results)]

    def _missed_by(self, row: Row, results: Sequence[Result]) -> Iterator[str]:
        score, asked = _median(results, "score"), _asked(results)
        if not row.is_enough(score, asked):
            yield f"{row.name}: {row.score} {score:.{row.digits}f} is not {asked:.{row.digits}f}"
        if row.worse in self._done:
            other = _median(self._done[row.worse][1], "score")
            if not row.beats(score, other):
                yield f"{row.name}: {score:.{row.digits}f} is not better than {other:.{row.digits}f} of {row.worse}"

    def _cells(self, row: Row, results: Sequence[Result]) -> list[str]:
        asked = _asked(results)
        compared = "at least" if row.better == "more" else "at most"
        return [
            row.method,
            row.data,
            f"{row.score} **{_median(results, 'score'):.{row.digits}f}**",
            f"{row.baseline} {_median(results, 'baseline'):.{row.digits}f}",
            "" if asked is None else f"{compared} {asked:.{row.digits}f}",
            f"{results[0].parameters:,}",
            " + ".join(f"{steps:,}" for steps in results[0].steps),
            f"{_median(results, 'seconds'):.0f}",
        ]


def _median(results: Sequence[Result], name: str) -> float:
    return float(median(getattr(result, name) for result in results))


def _asked(results: Sequence[Result]) -> float | None:
    asked = [result.asked for result in results if result.asked is not None]
    return median(asked) if asked else None


def _document(table: _Table, profile: Profile, skipped: dict[str, str]) -> str:
    seeds = "one seed" if len(profile.seeds) == 1 else f"medians of {len(profile.seeds)} seeds"
    command = "make quality-fast" if profile.name == "fast" else "make quality"
    machine = f"{os.cpu_count()} cores ({platform.machine()}), torch {torch.__version__}"
    told = [
        "# What the methods learn\n",
        f"Real data, {seeds}, by `{command}` on {datetime.now(UTC):%Y-%m-%d}: {machine}.\n",
        "Steps and seconds are of the whole way, parents first; a parent that rows share was trained once.\n",
        table.rendered(),
    ]
    if missed := table.missed():
        told += ["Not reached:\n", "".join(f"- {each}\n" for each in missed)]
    if skipped:
        told += ["Not measured:\n", "".join(f"- {name}: {why}\n" for name, why in skipped.items())]
    return "\n".join([*told, *table.notes()])
