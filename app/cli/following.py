"""Watching a job from a command: to its end, or until Ctrl-C, which stops the watching and never the job."""

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

    with detaching(job.id):
        return follow_with_progress(job, Console(stderr=True))


@contextmanager
def detaching(job_id: str) -> Iterator[None]:
    """Ctrl-C ends the command, and says that the job goes on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\n{job_id} goes on. Watch it again: pretune attach {job_id}", err=True)
        raise typer.Exit(INTERRUPTED) from None
