"""Commands over jobs: ask for them, watch them, stop them."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.following import detaching, followed
from app.cli.options import AsJson, JobId, Key, Url, Yes
from app.cli.output import (
    age,
    confirm,
    connected,
    console,
    count,
    duration,
    facts,
    listing,
    print_json,
    print_view,
    size,
)
from app.cli.specs import job_in, with_changes

if TYPE_CHECKING:
    from rich.table import Table

    from pretune import Client, Job
    from pretune.views import AutoDecision, Estimate, EventView, Json

commands = typer.Typer()

WATCH_SECONDS = 2.0
#: What `logs` shows. Metrics are many, and `attach` and the dashboard draw them.
LOGGED = frozenset({"status", "log", "warning", "checkpoint", "error"})

JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", help="The jobs' ids.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not watch it.")]
Status = Annotated[list[str] | None, typer.Option("--status", help="Those alone; once or several times.")]


@commands.command()
def submit(
    *,
    file: Annotated[
        typer.FileText,
        typer.Option("--file", "-f", help="The job as YAML or JSON, as in POST /v1/jobs; - for stdin."),
    ],
    yes: Yes = False,
    detach: Detach = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what a job would cost, ask, send it and watch it. Ctrl-C stops the watching, never the job."""
    spec = job_in(file)
    with connected(url, key) as client:
        _ask_for(client, spec, yes=yes, detach=detach, as_json=as_json)


@commands.command()
def clone(
    job: JobId,
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="As in training.seed=7; once or several times."),
    ] = None,
    yes: Yes = False,
    detach: Detach = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a job like another one, but for what --set changes."""
    with connected(url, key) as client:
        spec = with_changes(client.jobs.get(job).spec, changes or [])
        _ask_for(client, spec, yes=yes, detach=detach, as_json=as_json)


@commands.command()
def ps(
    *,
    status: Status = None,
    kind: Annotated[str | None, typer.Option(help="pretrain, finetune, batch_predict or evaluate.")] = None,
    method: Annotated[str | None, typer.Option(help="As in the spec: classification, gan...")] = None,
    name: Annotated[str | None, typer.Option(help="Of this name.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """The jobs, the newest first."""
    from itertools import islice

    with connected(url, key) as client:

        def jobs() -> "list[Job]":
            listed = client.jobs.list(status=status, kind=kind, method=method, name=name, page_size=min(limit, 200))
            return list(islice(listed, limit))

        if as_json:
            print_json([job.model_dump(mode="json") for job in jobs()])
        elif watch:
            _watch(lambda: _jobs_table(jobs()))
        else:
            console().print(_jobs_table(jobs()))


@commands.command()
def show(job: JobId, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """One job: where it is, what it measured, what it left."""
    with connected(url, key) as client:
        view = client.jobs.get(job)
        if as_json:
            print_view(view)
            return
        console().print(_facts(view))


@commands.command()
def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Also what is to come, until the job ends.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What has happened to a job. With --json every event, a line each."""
    with (
        connected(url, key) as client,
        detaching(job, f"pretune attach {job}"),
        closing(client.jobs.get(job).events(follow=follow)) as events,
    ):
        for event in events:
            if as_json:
                typer.echo(event.model_dump_json())
            elif event.type in LOGGED:
                typer.echo(_log_line(event))


@commands.command()
def attach(job: JobId, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Watch a job to its end. Ctrl-C stops the watching, never the job."""
    with connected(url, key) as client:
        _attach(client.jobs.get(job), as_json=as_json)


@commands.command()
def artifacts(
    job: JobId,
    name: Annotated[str | None, typer.Argument(help="Download this one.")] = None,
    *,
    to: Annotated[Path | None, typer.Option(help="The file to write (the artifact's name).")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What a job left beside its model: its log, its report on overfitting, its curves for TensorBoard, samples."""
    with connected(url, key) as client:
        view = client.jobs.get(job)
        if name is not None:
            path = view.download(name, to)
            print_json({"path": path}) if as_json else typer.echo(path)
            return
        found = view.artifacts()
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    rows = [(each.name, each.media_type, size(each.size_bytes), age(each.created_at)) for each in found]
    console().print(listing(("artifact", "type", "size", "created"), rows))


@commands.command()
def cancel(jobs: JobIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Stop jobs for good. Their checkpoints stay, and `retry` goes on from them."""
    _act(jobs, lambda job: job.cancel(), url, key, as_json=as_json)


@commands.command()
def pause(jobs: JobIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Write a checkpoint and give the slot back."""
    _act(jobs, lambda job: job.pause(), url, key, as_json=as_json)


@commands.command()
def resume(jobs: JobIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Go on with paused jobs."""
    _act(jobs, lambda job: job.resume(), url, key, as_json=as_json)


@commands.command()
def retry(jobs: JobIds, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Go on with jobs that have failed or were cancelled, from their last checkpoint."""
    _act(jobs, lambda job: job.retry(), url, key, as_json=as_json)


@commands.command()
def delete(job: JobId, *, yes: Yes = False, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Take a job away with its checkpoints and its history, after telling what that frees."""
    from app.cli.deletion import delete as delete_with_care

    with connected(url, key) as client:
        delete_with_care(client.jobs.get(job), yes=yes, as_json=as_json)


def _ask_for(client: "Client", spec: "Json", *, yes: bool, detach: bool, as_json: bool) -> None:
    from rich.console import Console

    if not as_json:
        Console(stderr=True, highlight=False).print(_plan(client, spec))
    confirm("Send it?", yes=yes)
    job = client.jobs.create(spec)
    if detach:
        print_view(job) if as_json else typer.echo(job.id)
        return
    typer.echo(f"{job.id} is {job.status}.", err=True)
    _attach(job, as_json=as_json)


def _attach(job: "Job", *, as_json: bool) -> None:
    finished = followed(job)
    print_view(finished) if as_json else typer.echo(finished.model_id or finished.id)


def _act(jobs: list[str], act: "Callable[[Job], Job]", url: str | None, key: str | None, *, as_json: bool) -> None:
    with connected(url, key) as client:
        views = [act(client.jobs.get(job)) for job in jobs]
        if as_json:
            print_json([view.model_dump(mode="json") for view in views])
            return
        for view in views:
            typer.echo(f"{view.id} is {view.status}.")


def _watch(table: "Callable[[], Table]") -> None:
    import time

    from rich.live import Live

    try:
        with Live(table(), console=console(), auto_refresh=False) as live:
            while True:
                time.sleep(WATCH_SECONDS)
                live.update(table(), refresh=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _jobs_table(jobs: "list[Job]") -> "Table":
    headings = ("job", "name", "method", "status", "progress", "loss", "created")
    return listing(headings, map(_row, jobs))


def _row(job: "Job") -> tuple[str, ...]:
    fraction, loss = job.progress.fraction, job.metrics.get("validation_loss", job.metrics.get("train_loss"))
    progress = "" if fraction is None else f"{fraction:.0%}"
    told_loss = "" if loss is None else f"{loss:.4g}"
    return (job.id, job.name or "", job.method, job.status, progress, told_loss, age(job.created_at))


def _facts(job: "Job") -> "Table":
    progress = job.progress
    measured = ", ".join(f"{name} {value:.4g}" for name, value in sorted(job.metrics.items()))
    told: dict[str, Any] = {
        "job": job.id,
        "name": job.name,
        "method": f"{job.kind}, {job.method}",
        "status": job.status if job.queue_position is None else f"{job.status}, {job.queue_position} before it",
        "waits": job.waiting_reason,
        "error": job.error and f"{job.error.code} ({job.error.fault}): {job.error.message}",
        "step": progress.step if progress.total_steps is None else f"{progress.step} of {progress.total_steps}",
        "trials": progress.num_trials and f"{progress.num_trials_done} of at most {progress.num_trials}",
        "left": progress.eta_seconds and duration(progress.eta_seconds),
        "measured": measured,
        **{name: _told_decision(decision) for name, decision in job.auto.items()},
        "data": job.dataset_id,
        "parent": job.parent_model_id or job.parent,
        "model": job.model_id,
        "attempt": job.attempt,
        "created": age(job.created_at),
        "finished": age(job.finished_at),
    }
    return facts(told)


def _told_decision(decision: "AutoDecision") -> str:
    if decision.chosen is None:
        return "auto, not decided yet"
    return f"{decision.chosen:g}, by auto: {decision.reason}"


def _plan(client: "Client", spec: "Json") -> "Table":
    if spec.get("kind") in {"batch_predict", "evaluate"}:  # what it costs, only the model's answers tell
        return facts({"job": spec["kind"], "model": spec.get("model"), "data": spec.get("dataset")})
    return _cost(client.jobs.estimate(spec))


def _cost(estimate: "Estimate") -> "Table":
    spec = estimate.spec
    sure = {name: "" if name not in estimate.approximate else "about " for name in estimate.model_dump()}
    times = [f"{duration(seconds)} on {device}" for device, seconds in estimate.estimated_seconds.items()]
    return facts(
        {
            "job": f"{spec['kind']}, {spec['method']['type']}",
            "name": spec.get("name"),
            "parent": spec.get("parent"),
            "data": spec["dataset"],
            "parameters": f"{sure['num_parameters']}{count(estimate.num_parameters)}",
            "steps": f"{sure['total_steps']}{estimate.total_steps:,}",
            "trials": estimate.trial_steps and f"{sure['trial_steps']}{estimate.trial_steps:,} steps more at most",
            "memory": f"about {size(estimate.memory_bytes)}",
            "disk": f"about {size(estimate.disk_bytes)}",
            "time": times and f"about {', '.join(times)}",
            "warning": "\n".join(estimate.warnings),
        }
    )


def _log_line(event: "EventView") -> str:
    data = event.data
    match event.type:
        case "status":
            told = data["status"]
        case "checkpoint":
            told = f"checkpoint of step {data['step']}"
        case "warning":
            told = f"warning: {data['message']}"
        case _:
            told = data.get("message", data)
    return f"{event.created_at:%H:%M:%S}  {told}"
