"""`pretune datasets`: uploaded data."""

import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import AlwaysJson, AsJson, Key, Url, Yes
from app.cli.output import WRONG, age, connected, console, fail, listing, print_json, print_view, size

commands = typer.Typer(help="Uploaded data.", no_args_is_help=True)

DatasetId = Annotated[str, typer.Argument(help="The data set's id.")]


@commands.command("upload")
def upload(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="txt, jsonl, csv, parquet, conll, npz or zip.")
    ],
    *,
    name: Annotated[str | None, typer.Option(help="What it is called (the file's name).")] = None,
    kind: Annotated[str | None, typer.Option(help="As in labeled_text; inferred where it can be.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="FIELD=COLUMN", help="What is called otherwise: text=review."),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Send a file, and print the id of the data set."""
    from app.cli.progress import upload_progress

    named = dict(_column(each) for each in columns or [])
    with connected(url, key) as client, upload_progress(file.name) as told:
        dataset = client.datasets.upload(file, name=name, kind=kind, columns=named or None, on_progress=told)
    for warning in dataset.warnings:
        typer.echo(f"warning: {warning}", err=True)
    print_view(dataset) if as_json else typer.echo(dataset.id)


@commands.command("list")
def list_datasets(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """The data sets, the newest first."""
    with connected(url, key) as client:
        found = list(islice(client.datasets.list(page_size=min(limit, 200)), limit))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        (each.id, each.name, each.kind, f"{each.num_examples:,}", size(each.size_bytes), age(each.created_at))
        for each in found
    ]
    console().print(listing(("data set", "name", "kind", "examples", "size", "created"), rows))


@commands.command("show")
def show(
    dataset: DatasetId,
    url: Url = None,
    key: Key = None,
    as_json: AlwaysJson = True,  # noqa: ARG001  it has no other form
) -> None:
    """Everything about a data set, as JSON."""
    with connected(url, key) as client:
        print_view(client.datasets.get(dataset))


@commands.command("preview")
def preview(
    dataset: DatasetId,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="The first so many.")] = 5,
    url: Url = None,
    key: Key = None,
    as_json: AlwaysJson = True,  # noqa: ARG001  it has no other form
) -> None:
    """The first records, a line of JSON each."""
    with connected(url, key) as client:
        for record in client.datasets.get(dataset).preview(limit):
            typer.echo(json.dumps(record, ensure_ascii=False))


@commands.command("delete")
def delete(dataset: DatasetId, *, yes: Yes = False, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Take a data set away, after telling what that frees."""
    from app.cli.deletion import delete as delete_with_care

    with connected(url, key) as client:
        delete_with_care(client.datasets.get(dataset), yes=yes, as_json=as_json)


def _column(given: str) -> tuple[str, str]:
    field, equals, column = given.partition("=")
    if not (field and equals and column):
        fail(f"--column {given!r} is no FIELD=COLUMN, as in text=review.", WRONG)
    return field, column
