"""What commands print, and how they fail: a line on the standard error, and an exit code."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from app.settings import Settings
    from pretune import Client
    from pretune.views import View

FAILED = 1
WRONG = 2
CANNOT_START = 3
JOB_DID_NOT_SUCCEED = 4
INTERRUPTED = 130

PIPE_WIDTH = 10_000


def settings_of(**given: Any) -> "Settings":
    """The environment, and over it the options that were given."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        told = [f"PRETUNE_{str(wrong['loc'][0]).upper()}: {wrong['msg']}" for wrong in error.errors()]
        fail("; ".join(told), WRONG)


@contextmanager
def connected(url: str | None, key: str | None) -> "Iterator[Client]":
    """A client of a running service; what it meets is told."""
    with failures_told():
        from pretune import Client

        try:
            with Client(url, key) as client:
                yield client
        except OSError as error:
            fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.", FAILED)


@contextmanager
def failures_told() -> Iterator[None]:
    """What a start or a client of the API may meet, as one line and an exit code."""
    from app.embedded.errors import CannotStart
    from pretune import JobDidNotSucceed, NoAnswer, PretuneError

    try:
        yield
    except JobDidNotSucceed as error:
        fail(str(error), JOB_DID_NOT_SUCCEED)
    except (NoAnswer, CannotStart) as error:
        fail(str(error), CANNOT_START)
    except PretuneError as error:
        fail(str(error), FAILED)


def confirm(question: str, *, yes: bool) -> None:
    """Ends the command where the answer is no, or where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("There is no terminal to ask in: -y says yes.", WRONG)
    if not typer.confirm(question, err=True):
        fail("Nothing was done.", FAILED)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def print_view(view: "View") -> None:
    print_json(view.model_dump(mode="json"))


def console() -> "Console":
    """Where there is no terminal, lines are as long as they are."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def listing(headings: Sequence[str], rows: "Iterable[Sequence[str]]") -> "Table":
    """Ids, which come first, are never cut."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, heading in enumerate(headings):
        table.add_column(heading, no_wrap=column == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def facts(told: Mapping[str, Any]) -> "Table":
    """In two columns. What there is nothing to tell of is left out."""
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        if value or value == 0:
            table.add_row(f"[bold]{name}[/]", escape(str(value)))
    return table


def age(moment: datetime | None) -> str:
    """How long ago, in the largest unit."""
    if moment is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    return duration(seconds) + " ago"


def duration(seconds: float) -> str:
    """In its two largest units: 1 h 5 min."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    whole = round(seconds)
    for index, (name, size) in enumerate(units):
        if whole >= size or name == "s":
            count, rest = divmod(whole, size)
            smaller = f" {rest // units[index + 1][1]} {units[index + 1][0]}" if size > 1 and rest else ""
            return f"{count} {name}{smaller}"
    raise AssertionError("seconds are the smallest unit")


def size(num_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1_000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1_000
    return f"{num_bytes:.1f} TB"


def count(number: float) -> str:
    """Of parameters or tokens: 12.3 M."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number:.0f}"


def fail(message: str, status: int) -> NoReturn:
    typer.echo(f"pretune: {message}", err=True)
    raise typer.Exit(status)
