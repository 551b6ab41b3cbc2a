"""A job's events as a live line in the terminal: step, loss, rate, time left."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from pretune import Job
from pretune.views import EventView, Json

#: Where there is no terminal, a line so often.
PLAIN_EVERY = 0.25
#: Metrics and how they are called. The live line fits into 80 characters.
SHOWN_LIVE = {"train_loss": "loss", "accuracy": "accuracy"}
SHOWN_AT_THE_END = {"train_loss": "loss", "validation_loss": "validation", "accuracy": "accuracy"}


def follow_with_progress(job: Job, console: Console) -> Job:
    """The job once it has succeeded. Raises JobDidNotSucceed."""
    name = job.name or job.id
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=8),
        TaskProgressColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        finished = job.wait(on_event=_Line(progress, console, name).take)
    told = _numbers(finished.metrics, SHOWN_AT_THE_END)
    console.print(f"  {name}: {finished.status}, {told}", highlight=False, markup=False)
    return finished


class _Line:
    def __init__(self, progress: Progress, console: Console, name: str) -> None:
        self._progress, self._console, self._name = progress, console, name
        self._task = progress.add_task(name, total=None, told="")
        self._values: dict[str, float] = {}
        self._told_fraction = 0.0

    def take(self, event: EventView) -> None:
        match event.type:
            case "status":
                self._progress.update(self._task, told=event.data["status"])
            case "metrics":
                self._values |= event.data["values"]
                self._move(event.data["progress"])
            case "log" | "warning":
                self._console.print(f"  [dim]{escape(event.data['message'])}[/]", highlight=False, soft_wrap=True)

    def _move(self, at: Json) -> None:
        told = ", ".join([_numbers(self._values, SHOWN_LIVE), *_pace(at)])
        self._progress.update(self._task, completed=at["step"], total=at["total_steps"], told=told)
        self._tell_plainly(at, told)

    def _tell_plainly(self, at: Json, told: str) -> None:
        fraction = at.get("fraction") or 0.0
        if self._progress.disable and fraction >= self._told_fraction + PLAIN_EVERY:
            self._told_fraction = fraction
            self._console.print(f"  {self._name}: step {at['step']} of {at['total_steps']}, {told}", highlight=False)


def _pace(at: Json) -> Iterator[str]:
    tokens, examples, eta = (at.get(name) for name in ("tokens_per_second", "examples_per_second", "eta_seconds"))
    if tokens:
        yield f"{tokens:,.0f} tokens/s"
    elif examples:
        yield f"{examples:,.0f} examples/s"
    if eta is not None:
        yield f"{eta:.0f} s left"


def _numbers(values: dict[str, float], shown: dict[str, str]) -> str:
    return ", ".join(f"{name} {values[metric]:.2f}" for metric, name in shown.items() if metric in values)
