"""A job as a user writes it: YAML or JSON in a file, and changes as PATH=VALUE."""

import copy
import io
import json
from typing import TYPE_CHECKING, Any, TextIO

from app.cli.output import WRONG, fail

if TYPE_CHECKING:
    from pretune.views import Json


def job_in(file: TextIO) -> "Json":
    job = parsed(file.read(), file.name)
    if not isinstance(job, dict):
        fail(f"{file.name} must hold an object with the fields of a job, and holds {type(job).__name__}.", WRONG)
    return job


def with_changes(spec: "Json", changes: list[str]) -> "Json":
    """`changes` are PATH=VALUE, the value as YAML: training.seed=7, method.architecture.dropout=0.1."""
    changed = copy.deepcopy(spec)
    for change in changes:
        path, equals, value = change.partition("=")
        if not (path and equals):
            fail(f"--set {change!r} is no PATH=VALUE, as in training.seed=7.", WRONG)
        *parents, last = path.split(".")
        place = changed
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                fail(f"--set {change!r}: {name} holds a value and no fields.", WRONG)
        place[last] = parsed(value, f"--set {change!r}")
    return changed


def parsed(text: str, name: str) -> Any:
    """YAML 1.2, of which JSON is a part but for tabs between its tokens."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        told = " ".join(str(error).split())
        fail(f"{name} is neither JSON nor YAML: {told}", WRONG)
