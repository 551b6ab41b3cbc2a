"""A job's events as a live line in the terminal: step, loss, rate, time left."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from app.client.api import Api, Event, Json
from app.client.following import follow_to_success

#: Where there is no terminal, a line so often.
PLAIN_EVERY = 0.25


def follow_with_progress(api: Api, job: Json, console: Console) -> Json:
    """The finished view. Raises JobDidNotSucceed."""
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        line = _Line(progress, console, job["name"])
        view = follow_to_success(api, job["id"], line.take)
    console.print(f"  {job['name']}: {view['status']}, {_numbers(view['metrics'])}", highlight=False)
    return view


class _Line:
    def __init__(self, progress: Progress, console: Console, name: str) -> None:
        self._progress, self._console, self._name = progress, console, name
        self._task = progress.add_task(name, total=None, told="waiting")
        self._values: dict[str, float] = {}
        self._told_fraction = 0.0

    def take(self, event: Event) -> None:
        match event.type:
            case "status":
                self._progress.update(self._task, told=event.data["status"])
            case "metrics":
                self._values |= event.data["values"]
                self._move(event.data["progress"])
            case "log" | "warning":
                self._console.print(f"  [dim]{event.data['message']}[/]", highlight=False)

    def _move(self, at: Json) -> None:
        rate, eta = at.get("tokens_per_second") or at.get("examples_per_second"), at.get("eta_seconds")
        unit = "tokens/s" if at.get("tokens_per_second") else "examples/s"
        parts = [_numbers(self._values)]
        parts += [f"{rate:,.0f} {unit}"] if rate else []
        parts += [f"{eta:.0f} s left"] if eta is not None else []
        told = "  ".join(parts)
        self._progress.update(self._task, completed=at["step"], total=at["total_steps"], told=told)
        self._tell_plainly(at, told)

    def _tell_plainly(self, at: Json, told: str) -> None:
        fraction = at.get("fraction") or 0.0
        if self._progress.disable and fraction >= self._told_fraction + PLAIN_EVERY:
            self._told_fraction = fraction
            self._console.print(f"  {self._name}: step {at['step']} of {at['total_steps']}  {told}", highlight=False)


def _numbers(values: dict[str, float]) -> str:
    shown = ("train_loss", "validation_loss", "validation_accuracy", "accuracy")
    return "  ".join(f"{name} {values[name]:.3f}" for name in shown if name in values)
