"""Watching a job or a sweep from a command: to its end, or until Ctrl-C, which stops the watching alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from app.cli.output import INTERRUPTED

if TYPE_CHECKING:
    from pretune import Job


def followed(job: "Job") -> "Job":
    """The job once it has succeeded. Raises JobDidNotSucceed."""
    from rich.console import Console

    from app.client.progress import follow_with_progress

    with detaching(job.id, f"pretune attach {job.id}"):
        return follow_with_progress(job, Console(stderr=True))


@contextmanager
def detaching(what: str, again: str) -> Iterator[None]:
    """Ctrl-C ends the command, and says that the job or sweep goes on, and how to see it again."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{what} goes on. Watch it again: {again}", err=True)
        raise typer.Exit(INTERRUPTED) from None
