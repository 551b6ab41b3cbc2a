"""Deleting with a look before: what it frees, what stays, what is in its way."""

from typing import TYPE_CHECKING, Protocol

import typer

from app.cli.output import FAILED, confirm, fail, print_view, size

if TYPE_CHECKING:
    from pretune.views import Deletion


class Deletable(Protocol):
    @property
    def id(self) -> str: ...

    def deletion(self) -> "Deletion": ...

    def delete(self) -> None: ...


def delete(thing: Deletable, *, yes: bool, as_json: bool) -> None:
    told = thing.deletion()
    if told.blocked_by:
        fail(" ".join(told.blocked_by), FAILED)
    typer.echo(f"This frees {size(told.freed_bytes)} in {told.freed_files:,} files.", err=True)
    for sentence in told.stays:
        typer.echo(sentence, err=True)
    confirm(f"Delete {thing.id}?", yes=yes)
    thing.delete()
    print_view(told) if as_json else typer.echo(f"{thing.id} is deleted.")
