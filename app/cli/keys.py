"""`pretune keys`: those of a service on this machine, or of PRETUNE_DATABASE_URL. Needs no running service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import AsJson, DataDir
from app.cli.output import FAILED, fail, print_json, settings_of
from app.contract.scopes import Scope

if TYPE_CHECKING:
    from app.services.keys import Keys

commands = typer.Typer(help="API keys of projects.", no_args_is_help=True)


@commands.command("create")
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
        print_json(view.model_dump(mode="json") | {"key": text})
        return
    typer.echo(
        f"{view.id}, a key of the project {project} with the scope {', '.join(view.scopes)}. "
        "It is shown this once; send it as a Bearer token:",
        err=True,
    )
    typer.echo(text)


@commands.command("list")
def list_keys(
    project: Annotated[str | None, typer.Option(help="Those of one project alone.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The keys, without their secrets."""
    with _keys(data_dir) as stored:
        views = [view.model_dump(mode="json") for view in stored.list_of(project)]
    if as_json:
        print_json(views)
        return
    for view in views:
        times = {name.removesuffix("_at"): at for name, at in view.items() if at and name.endswith("_at")}
        dates = [f"{what} {at[:16]}Z" for what, at in times.items()]
        facts = (view["id"], view["prefix"], view["project_id"], ",".join(view["scopes"]), view["name"])
        typer.echo(f"{'  '.join(facts)}  ({', '.join(dates)})")


@commands.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Its id or its prefix, as `pretune keys list` shows them.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a key for good, within seconds."""
    with _keys(data_dir) as stored:
        view = stored.revoke(key)
    told = f"Revoked {view.id} ({view.name}) of the project {view.project_id}."
    print_json(view.model_dump(mode="json")) if as_json else typer.echo(told)


@contextmanager
def _keys(data_dir: Path | None) -> "Iterator[Keys]":
    """Those of the embedded database or of PRETUNE_DATABASE_URL, which is brought to this version's schema first."""
    from sqlalchemy.exc import OperationalError

    from app.contract.errors import ServiceError
    from app.db.migrate import UnknownSchema, upgrade
    from app.db.session import Database
    from app.services.keys import Keys

    settings = settings_of(data_dir=data_dir)
    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    try:
        upgrade(settings.resolved_database_url)
        yield Keys(database)
    except ServiceError as error:
        fail(error.detail, FAILED)
    except (UnknownSchema, OperationalError) as error:
        fail(f"The database cannot be used: {error}", FAILED)
    finally:
        database.dispose()
