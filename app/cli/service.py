"""Commands of who runs the service, on its own machine."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, DataDir, Key, Url
from app.cli.output import CANNOT_START, FAILED, WRONG, connected, fail, failures_told, print_json, settings_of

if TYPE_CHECKING:
    from app.db.session import Database
    from app.settings import Settings

STOP_SECONDS = 90.0
WELCOME = """\
Pretune answers at {url}
  docs   {url}/docs
  data   {data_dir} (logs in logs/)
  Ctrl-C stops it: running jobs write a checkpoint and go on at the next start."""

commands = typer.Typer()


@commands.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port; 0 for any free one (8080).")] = None,
    data_dir: DataDir = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Jobs that train at a time (one for each GPU, or 1).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON once it answers, and no more.")] = False,
) -> None:
    """Run the whole service on this machine: api, trainer, inference and a broker. Ctrl-C stops it."""
    from app.embedded.service import EmbeddedService

    settings = settings_of(host=host, port=port, data_dir=data_dir, slots=slots)
    folder = settings.data_dir.absolute()

    def welcome(url: str) -> None:
        told = {"url": url, "pid": os.getpid(), "data_dir": str(folder)}
        typer.echo(json.dumps(told) if as_json else WELCOME.format_map(told))

    with failures_told():
        EmbeddedService(settings, say=lambda text: typer.echo(text, err=as_json), welcome=welcome).run()


@commands.command()
def down(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the service that runs on a data folder, in order: running jobs write a checkpoint first."""
    from app.embedded.background import stop

    folder = settings_of(data_dir=data_dir).data_dir.absolute()
    try:
        holder = stop(folder, STOP_SECONDS)
    except (TimeoutError, PermissionError) as error:
        fail(str(error), FAILED)
    if holder is None:
        fail(f"No service runs on {folder}.", CANNOT_START)
    print_json({"pid": holder.pid}) if as_json else typer.echo(f"Stopped process {holder.pid}.")


@commands.command()
def demo(
    url: Annotated[str | None, typer.Option(help="A running service; without it, one is started here.")] = None,
    key: Key = None,
    data_dir: DataDir = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the service at the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pretrain on Shakespeare, fine-tune on film reviews, ask both models. Takes about four minutes on two cores."""
    from app.demo import run_demo

    folder = settings_of(data_dir=data_dir).data_dir.absolute()
    with failures_told():
        results = run_demo(url=url, key=key, data_dir=folder, stop_at_end=stop, quiet=as_json)
    if as_json:
        print_json(results)


@commands.command()
def smoke(
    url: Url = None,
    key: Key = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until the service is ready.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Go the whole way once on a running service, as small as it goes: pretrain, fine-tune, ask both."""
    from app.client.smoke import run_smoke

    with connected(url, key) as client:
        client.wait_until_ready(wait)
        results = run_smoke(client, tell=lambda text: typer.echo(text, err=as_json))
    print_json(results) if as_json else typer.echo("The smoke test passed.")


@commands.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database (PRETUNE_DATABASE_URL) to this version's schema. `pretune up` does it by itself."""
    from app.db.migrate import newest_revision
    from app.embedded.preparation import migrate as bring_up_to_date

    with failures_told():
        bring_up_to_date(settings_of())
    print_json({"revision": newest_revision()}) if as_json else typer.echo("The database is up to date.")


@commands.command()
def make_bucket(as_json: AsJson = False) -> None:
    """Make the bucket that PRETUNE_STORE names, where there is none: in an object store of your own."""
    from app.storage.objects import make_bucket as made

    settings = settings_of()
    if settings.store is None:
        fail("PRETUNE_STORE names no bucket.", WRONG)
    try:
        made(settings.store)
    except OSError as error:
        fail(f"{settings.store} cannot be used: {error.strerror}.", CANNOT_START)
    print_json({"store": str(settings.store)}) if as_json else typer.echo(f"{settings.store} can be used.")


@commands.command()
def backup(
    destination: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database and the files that it refers to into a folder, while the service runs."""
    from app.backup import write_backup
    from app.storage import open_store

    settings = settings_of(data_dir=data_dir)
    with _backup_failures_told(), _existing_database(settings) as database:
        written = write_backup(database, open_store(settings), destination)
    for key in written.damaged:
        typer.echo(f"Left out, because the store has lost or damaged it: {key}", err=True)
    told = f"{written.folder}: the database and {written.num_files:,} files, {written.size_bytes / 1e6:,.1f} MB."
    print_json(written._asdict() | {"folder": str(written.folder)}) if as_json else typer.echo(told)


@commands.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `pretune backup` made.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, into an empty data folder and an empty database only. Its every byte is verified first."""
    from app.backup import restore as bring_back
    from app.embedded.lock import locked
    from app.storage import open_store

    settings = settings_of(data_dir=data_dir)
    with failures_told(), _backup_failures_told(), locked(settings.data_dir.absolute()):
        manifest = bring_back(source, settings.resolved_database_url, open_store(settings))
    told = f"Restored the service as it was at {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC."
    print_json(manifest.model_dump(mode="json", exclude={"parts"})) if as_json else typer.echo(told)


@commands.command()
def health(
    target: Annotated[str, typer.Argument(help="An address, or `trainer`.")],
    as_json: AsJson = False,
) -> None:
    """Exit 0 where the address answers 200, or where a trainer lives: for the health checks of containers."""
    healthy = _is_healthy(target)
    if as_json:
        print_json({"target": target, "healthy": healthy})
    if not healthy:
        raise typer.Exit(FAILED)


@commands.command()
def version(as_json: AsJson = False) -> None:
    """This version of Pretune."""
    from importlib.metadata import version as version_of

    number = version_of("pretune")
    print_json({"version": number}) if as_json else typer.echo(number)


def _is_healthy(target: str) -> bool:
    if target != "trainer":
        from app.health.address import answers_ok

        return answers_ok(target)
    from app.health.trainer import trainer_lives

    return trainer_lives(settings_of())


@contextmanager
def _existing_database(settings: "Settings") -> "Iterator[Database]":
    """Opening it would make an embedded one that is not there."""
    from app.db.session import Database

    embedded = settings.data_dir.absolute() / "pretune.db"
    if settings.database_url is None and not embedded.is_file():
        fail(f"There is no service's data in {settings.data_dir}: it holds no pretune.db.", FAILED)
    database = Database(settings.resolved_database_url)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def _backup_failures_told() -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    from app.backup import BackupError

    try:
        yield
    except BackupError as error:
        fail(str(error), FAILED)
    except DBAPIError as error:
        fail(f"The database cannot be used: {error.orig}", FAILED)
    except OSError as error:
        fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.", FAILED)
