"""`pretune sweep`: one job trained many times, watched, stopped, written out as a table."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.following import detaching
from app.cli.options import AsJson, Key, Url, Yes
from app.cli.output import age, connected, console, facts, listing, print_json, print_view
from app.cli.specs import job_in

if TYPE_CHECKING:
    from pretune import Sweep
    from pretune.views import SweepView, TrialView

commands = typer.Typer(help="Train one job many times, and find what makes it better.", no_args_is_help=True)

SweepId = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id.")]
SweepIds = Annotated[list[str], typer.Argument(metavar="SWEEP...", help="The sweeps' ids.")]


@commands.command("submit")
def submit_sweep(
    *,
    file: Annotated[
        typer.FileText,
        typer.Option("--file", "-f", help="The sweep as YAML or JSON, as in POST /v1/sweeps; - for stdin."),
    ],
    detach: Annotated[bool, typer.Option("--detach", help="Do not watch it.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Send a sweep and watch it, and print the id of its model. Ctrl-C stops the watching, never the sweep."""
    fields = job_in(file)
    job, search = (fields.pop(name, None) for name in ("job", "search"))
    with connected(url, key) as client:
        sweep = client.sweeps.create(job, search, **fields)
        if detach:
            print_view(sweep) if as_json else typer.echo(sweep.id)
            return
        typer.echo(f"{sweep.id} is {sweep.status}.", err=True)
        with detaching(sweep.id, f"pretune sweep show {sweep.id}"):
            sweep = sweep.wait(on_change=_say)
        print_view(sweep) if as_json else typer.echo(sweep.model_id or sweep.id)


@commands.command("ps")
def list_sweeps(
    *,
    status: Annotated[list[str] | None, typer.Option("--status", help="Those alone; once or several times.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """The sweeps, the newest first."""
    from itertools import islice

    with connected(url, key) as client:
        found = list(islice(client.sweeps.list(status=status, page_size=min(limit, 200)), limit))
    if as_json:
        print_json([sweep.model_dump(mode="json") for sweep in found])
        return
    rows = [(each.id, each.name or "", each.status, _ended(each), _best(each), age(each.created_at)) for each in found]
    console().print(listing(("sweep", "name", "status", "trials", "best", "created"), rows))


@commands.command("show")
def show_sweep(sweep: SweepId, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """One sweep: where it stands, its trials, the best first."""
    with connected(url, key) as client:
        view = client.sweeps.get(sweep)
    if as_json:
        print_view(view)
        return
    importance = {f"importance of {path}": f"{share:.0%}" for path, share in (view.importance or {}).items()}
    told = {"sweep": view.id, "name": view.name, "status": view.status, "model": view.model_id, **importance}
    console().print(facts({name: value for name, value in told.items() if value is not None}))
    console().print(view.reason)
    paths = list(view.spec["search"])
    headings = ("trial", "state", "mean", "deviation", "step", *paths)
    console().print(listing(headings, [_row(trial, paths) for trial in _best_first(view)]))


@commands.command("csv")
def download_trials(
    sweep: SweepId,
    *,
    to: Annotated[Path | None, typer.Option(help="The file to write (the sweep's id and .csv).")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Its trials as a table: parameters, scores of all folds, mean, standard deviation."""
    with connected(url, key) as client:
        path = client.sweeps.get(sweep).download(to)
    print_json({"path": path}) if as_json else typer.echo(path)


@commands.command("cancel")
def cancel_sweeps(sweeps: SweepIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Stop sweeps and all their jobs for good."""
    _act(sweeps, lambda sweep: sweep.cancel(), url, key, as_json=as_json)


@commands.command("pause")
def pause_sweeps(sweeps: SweepIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Stop all their jobs behind a checkpoint, and begin none."""
    _act(sweeps, lambda sweep: sweep.pause(), url, key, as_json=as_json)


@commands.command("resume")
def resume_sweeps(sweeps: SweepIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Go on with paused sweeps."""
    _act(sweeps, lambda sweep: sweep.resume(), url, key, as_json=as_json)


@commands.command("delete")
def delete_sweep(
    sweep: SweepId, *, yes: Yes = False, url: Url = None, key: Key = None, as_json: AsJson = False
) -> None:
    """Take a sweep away with all its jobs, after telling what that frees. Models stay."""
    from app.cli.deletion import delete as delete_with_care

    with connected(url, key) as client:
        delete_with_care(client.sweeps.get(sweep), yes=yes, as_json=as_json)


def _act(
    ids: list[str], action: "Callable[[Sweep], Sweep]", url: str | None, key: str | None, *, as_json: bool
) -> None:
    with connected(url, key) as client:
        views = [action(client.sweeps.get(each)) for each in ids]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    for view in views:
        typer.echo(f"{view.id}  {view.status}")


def _say(sweep: "SweepView") -> None:
    typer.echo(sweep.reason, err=True)


def _ended(sweep: "SweepView") -> str:
    return f"{sum(sweep.trials_by_state.values()) - sweep.trials_by_state.get('running', 0)}/{sweep.num_trials}"


def _best(sweep: "SweepView") -> str:
    return "" if sweep.best is None else f"{sweep.best.mean:.4g}"


def _best_first(sweep: "SweepView") -> "list[TrialView]":
    sign = -1 if sweep.spec["objective"]["goal"] == "maximize" else 1
    return sorted(sweep.trials, key=lambda trial: (trial.mean is None, sign * (trial.mean or 0.0), trial.number))


def _row(trial: "TrialView", paths: list[str]) -> tuple[str, ...]:
    numbers = ("" if value is None else f"{value:.4g}" for value in (trial.mean, trial.standard_deviation))
    values = (trial.parameters[path] for path in paths)
    told = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
    return (str(trial.number), trial.state, *numbers, f"{trial.step:,}", *told)
