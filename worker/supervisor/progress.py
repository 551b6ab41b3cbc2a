"""How far a job has come, as its view tells it. Arithmetic only."""

from typing import Any

from app.contract.messages import MetricsLine, Resolved, SearchLine


def progress_at(line: MetricsLine, total_steps: int | None, examples_per_step: int) -> dict[str, Any]:
    """`total_steps`, `fraction` and `eta_seconds` are null until the data are prepared."""
    return {
        "phase": "training",
        "step": line.step,
        "total_steps": total_steps,
        "fraction": min(1.0, line.step / total_steps) if total_steps else None,
        "tokens_per_second": line.tokens_per_second,
        "examples_per_second": line.examples_per_second,
        "steps_per_second": line.examples_per_second and line.examples_per_second / examples_per_step,
        "eta_seconds": _eta_seconds(line, total_steps, examples_per_step),
    }


def prepared(progress: dict[str, Any], resolved: Resolved) -> dict[str, Any]:
    """The data are prepared: the number of steps is known, and a resumed job keeps the step that it had."""
    step = progress.get("step", 0)
    return {
        "phase": "training",
        "step": step,
        "total_steps": resolved.total_steps,
        "fraction": min(1.0, step / resolved.total_steps),
        "tokens_per_second": None,
        "examples_per_second": None,
        "steps_per_second": None,
        "eta_seconds": None,
    }


def searching(progress: dict[str, Any], line: SearchLine) -> dict[str, Any]:
    """Trials are made before the first step."""
    return progress | {"phase": "trials", "num_trials_done": line.num_done, "num_trials": line.num_trials}


def finished(progress: dict[str, Any], step: int) -> dict[str, Any]:
    """The end of a run, which early stopping may have brought forward."""
    return progress | {"step": step, "fraction": 1.0, "eta_seconds": 0}


def _eta_seconds(line: MetricsLine, total_steps: int | None, examples_per_step: int) -> float | None:
    if total_steps is None or not line.examples_per_second:
        return None
    return round((total_steps - line.step) * examples_per_step / line.examples_per_second, 1)
