"""The `pretune` command. Each command imports what it needs when it runs, so that `--help` is quick; none needs torch.

Exit codes: 0 done, 1 it failed, 2 the command line or a setting is wrong, 3 the service cannot start or is not there.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from app.contract.scopes import Scope

if TYPE_CHECKING:
    from app.db.session import Database
    from app.services.keys import Keys
    from app.settings import Settings

FAILED = 1
WRONG = 2
CANNOT_START = 3
DEFAULT_PORT = 8080
STOP_SECONDS = 90.0

app = typer.Typer(
    help="Pretrain models, fine-tune them, serve them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(help="API keys of projects.", no_args_is_help=True)
app.add_typer(keys, name="keys")

DataDir = Annotated[Path | None, typer.Option(help="Folder of all embedded state (PRETUNE_DATA_DIR, pretune-data).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Url = Annotated[str, typer.Option(help="Address of a running service.")]
_JOB_FILE = "The job as JSON, as POST /v1/jobs takes it; - for the standard input."
Key = Annotated[str | None, typer.Option(envvar="PRETUNE_KEY", help="API key, where the service asks for one.")]


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port; 0 for any free one (8080).")] = None,
    data_dir: DataDir = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs that train at a time (1).")] = None,
) -> None:
    """Run the whole service on this machine: api, trainer, inference and a broker. Ctrl-C stops it."""
    from app.embedded.service import EmbeddedService

    settings = _settings(host=host, port=port, data_dir=data_dir, slots=slots)
    with _failures_told():
        EmbeddedService(settings, say=typer.echo).run()


@app.command()
def down(data_dir: DataDir = None) -> None:
    """Stop the service that runs on a data folder, in order: running jobs write a checkpoint first."""
    from app.embedded.background import stop

    folder = _settings(data_dir=data_dir).data_dir.absolute()
    try:
        holder = stop(folder, STOP_SECONDS)
    except (TimeoutError, PermissionError) as error:
        _fail(str(error), FAILED)
    if holder is None:
        _fail(f"No service runs on {folder}.", CANNOT_START)
    typer.echo(f"Stopped process {holder.pid}.")


@app.command()
def demo(
    url: Annotated[str | None, typer.Option(help="A running service; without it, one is started here.")] = None,
    key: Key = None,
    data_dir: DataDir = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the service at the end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pretrain on Shakespeare, fine-tune on film reviews, ask both models. Takes about four minutes on two cores."""
    from app.demo import run_demo

    folder = _settings(data_dir=data_dir).data_dir.absolute()
    with _failures_told():
        results = run_demo(url=url, key=key, data_dir=folder, stop_at_end=stop, quiet=as_json)
    if as_json:
        _print_json(results)


@app.command()
def submit(
    file: Annotated[typer.FileText, typer.Option("--file", "-f", help=_JOB_FILE)],
    url: Url = f"http://127.0.0.1:{DEFAULT_PORT}",
    key: Key = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show its progress until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for a job, and print its id."""
    from rich.console import Console

    from app.client import Api
    from app.client.progress import follow_with_progress

    with _failures_told(), Api(url, key) as api:
        job = api.create_job(_job_in(file))
        if not as_json:
            typer.echo(job["id"])
        if follow:
            job = follow_with_progress(api, job | {"name": job["name"] or job["id"]}, Console(stderr=as_json))
    if as_json:
        _print_json(job)


@app.command()
def smoke(
    url: Url = f"http://127.0.0.1:{DEFAULT_PORT}",
    key: Key = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until the service is ready.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Go the whole way once on a running service, as small as it goes: pretrain, fine-tune, ask both."""
    from app.client import Api
    from app.client.smoke import run_smoke

    with _failures_told(), Api(url, key) as api:
        api.wait_until_ready(wait)
        results = run_smoke(api, tell=lambda text: typer.echo(text, err=as_json))
    _print_json(results) if as_json else typer.echo("The smoke test passed.")


@app.command()
def migrate() -> None:
    """Bring the database (PRETUNE_DATABASE_URL) to this version's schema. `pretune up` does it by itself."""
    from app.embedded.preparation import migrate as bring_up_to_date

    with _failures_told():
        bring_up_to_date(_settings())
    typer.echo("The database is up to date.")


@app.command()
def backup(
    destination: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database and the files that it refers to into a folder, while the service runs."""
    from app.backup import write_backup
    from app.storage import FolderStore

    settings = _settings(data_dir=data_dir)
    with _backup_failures_told(), _existing_database(settings) as database:
        written = write_backup(database, FolderStore(settings.artifacts_dir), destination)
    for key in written.damaged:
        typer.echo(f"Left out, because the store has lost or damaged it: {key}", err=True)
    told = f"{written.folder}: the database and {written.num_files:,} files, {written.size_bytes / 1e6:,.1f} MB."
    _print_json(written._asdict() | {"folder": str(written.folder)}) if as_json else typer.echo(told)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A folder that `pretune backup` made.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, into an empty data folder and an empty database only. Its every byte is verified first."""
    from app.backup import restore as bring_back
    from app.embedded.lock import locked
    from app.storage import FolderStore

    settings = _settings(data_dir=data_dir)
    with _failures_told(), _backup_failures_told(), locked(settings.data_dir.absolute()):
        manifest = bring_back(source, settings.resolved_database_url, FolderStore(settings.artifacts_dir))
    told = f"Restored the service as it was at {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC."
    _print_json(manifest.model_dump(mode="json", exclude={"parts"})) if as_json else typer.echo(told)


@app.command()
def health(target: Annotated[str, typer.Argument(help="An address, or `trainer`.")]) -> None:
    """Exit 0 where the address answers 200, or where a trainer lives: for the health checks of containers."""
    if not _is_healthy(target):
        raise typer.Exit(FAILED)


@app.command()
def version(as_json: AsJson = False) -> None:
    """This version of Pretune."""
    from importlib.metadata import version as version_of

    number = version_of("pretune")
    _print_json({"version": number}) if as_json else typer.echo(number)


@keys.command("create")
def create_key(
    *,
    project: Annotated[str, typer.Option(help="Whose resources it opens; made where it is new.")] = "default",
    name: Annotated[str, typer.Option(help="What it is for.")] = "key",
    scope: Annotated[list[Scope] | None, typer.Option(help="What it opens, once or several times (admin).")] = None,
    expires_days: Annotated[int | None, typer.Option(help="Days until it ends; for good where not given.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and print it: this once, for it is not kept. Only the key goes to the standard output."""
    with _keys(data_dir) as stored:
        view, text = stored.create(project, name, expires_days, scope or [Scope.ADMIN])
    if as_json:
        _print_json(view.model_dump(mode="json") | {"key": text})
        return
    typer.echo(
        f"{view.id}, a key of the project {project} with the scope {', '.join(view.scopes)}. "
        "It is shown this once; send it as a Bearer token:",
        err=True,
    )
    typer.echo(text)


@keys.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Those of one project alone.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The keys, without their secrets."""
    with _keys(data_dir) as stored:
        views = [view.model_dump(mode="json") for view in stored.list_of(project)]
    if as_json:
        _print_json(views)
        return
    for view in views:
        times = {name.removesuffix("_at"): at for name, at in view.items() if at and name.endswith("_at")}
        dates = [f"{what} {at[:16]}Z" for what, at in times.items()]
        facts = (view["id"], view["prefix"], view["project_id"], ",".join(view["scopes"]), view["name"])
        typer.echo(f"{'  '.join(facts)}  ({', '.join(dates)})")


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id or its prefix, as `pretune keys list` shows them.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key for good, within seconds."""
    with _keys(data_dir) as stored:
        view = stored.revoke(key)
    told = f"Revoked {view.id} ({view.name}) of the project {view.project_id}."
    _print_json(view.model_dump(mode="json")) if as_json else typer.echo(told)


def main() -> None:
    app()


def _settings(**given: Any) -> "Settings":
    """The environment, and over it the options that were given."""
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        told = [f"PRETUNE_{str(wrong['loc'][0]).upper()}: {wrong['msg']}" for wrong in error.errors()]
        _fail("; ".join(told), WRONG)


def _is_healthy(target: str) -> bool:
    if target != "trainer":
        from app.health.address import answers_ok

        return answers_ok(target)
    from app.health.trainer import trainer_lives

    return trainer_lives(_settings())


@contextmanager
def _keys(data_dir: Path | None) -> "Iterator[Keys]":
    """Those of the embedded database or of PRETUNE_DATABASE_URL, which is brought to this version's schema first."""
    from sqlalchemy.exc import OperationalError

    from app.contract.errors import ServiceError
    from app.db.migrate import UnknownSchema, upgrade
    from app.db.session import Database
    from app.services.keys import Keys

    settings = _settings(data_dir=data_dir)
    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    try:
        upgrade(settings.resolved_database_url)
        yield Keys(database)
    except ServiceError as error:
        _fail(error.detail, FAILED)
    except (UnknownSchema, OperationalError) as error:
        _fail(f"The database cannot be used: {error}", FAILED)
    finally:
        database.dispose()


@contextmanager
def _existing_database(settings: "Settings") -> "Iterator[Database]":
    """Opening it would make an embedded one that is not there."""
    from app.db.session import Database

    embedded = settings.data_dir.absolute() / "pretune.db"
    if settings.database_url is None and not embedded.is_file():
        _fail(f"There is no service's data in {settings.data_dir}: it holds no pretune.db.", FAILED)
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
        _fail(str(error), FAILED)
    except DBAPIError as error:
        _fail(f"The database cannot be used: {error.orig}", FAILED)
    except OSError as error:
        _fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.", FAILED)


@contextmanager
def _failures_told() -> Iterator[None]:
    """What a start or a client of the API may meet, as one line and an exit code."""
    from app.client import ClientError
    from app.embedded.errors import CannotStart

    try:
        yield
    except ClientError as error:
        _fail(str(error), FAILED)
    except CannotStart as error:
        _fail(str(error), CANNOT_START)


def _job_in(file: typer.FileText) -> dict[str, Any]:
    try:
        job = json.load(file)
    except ValueError as error:
        _fail(f"{file.name} is no JSON: {error}", FAILED)
    if not isinstance(job, dict):
        _fail(f"{file.name} must hold a JSON object, and holds {type(job).__name__}.", FAILED)
    return job


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"pretune: {message}", err=True)
    raise typer.Exit(status)


if __name__ == "__main__":
    main()
