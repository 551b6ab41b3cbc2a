"""The model card, README.md of an archive: front matter that hubs read, then where the model comes from.

Written when an archive is sent, out of rows that do not change: the same model, evaluated no more, has the same card
each time, and equal weights have equal files however they came about.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from app.contract.evaluations import CONFIDENCE, EvaluationReport
from app.contract.model_folder import DESCRIPTION_NAME, WEIGHTS_NAME, InputKind, ModelDescription
from app.contract.tensors import has_stock_form
from app.db.tables import DatasetRow, JobRow, ModelRow

_TASKS: dict[tuple[str, InputKind], str] = {
    ("causal_language_model", InputKind.TEXT): "text-generation",
    ("instruction_tuning", InputKind.TEXT): "text-generation",
    ("masked_language_model", InputKind.TEXT): "fill-mask",
    ("classification", InputKind.TEXT): "text-classification",
    ("classification", InputKind.FEATURES): "tabular-classification",
    ("classification", InputKind.IMAGE): "image-classification",
    ("sequence_labeling", InputKind.TEXT): "token-classification",
    ("semantic_role_labeling", InputKind.TEXT): "token-classification",
    ("regression", InputKind.FEATURES): "tabular-regression",
    ("gan", InputKind.IMAGE): "unconditional-image-generation",
}
_OTHER_TASK = "feature-extraction"


@dataclass(frozen=True, slots=True)
class Generation:
    """A model with the job that made it and the data that the job read, those that validated it last; an imported model
    has neither."""

    model: ModelRow
    job: JobRow | None
    datasets: Sequence[DatasetRow]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """How good the model is on a data set."""

    report: EvaluationReport
    dataset: DatasetRow


def card(line: Sequence[Generation], evaluated: Sequence[Evaluated] = ()) -> str:
    """`line`: from the root to the model itself."""
    told = line[-1]
    description = ModelDescription.model_validate(told.model.description, strict=False)
    is_stock = has_stock_form(description)
    parts = (
        _front_matter(told, description, is_stock=is_stock),
        _facts(told.model, description),
        _lineage(line),
        _training(told),
        _metrics(told.model),
        _evaluations(evaluated),
        _files(is_stock=is_stock),
    )
    return "\n".join(text for part in parts for text in part) + "\n"


def _front_matter(told: Generation, description: ModelDescription, *, is_stock: bool) -> Iterator[str]:
    body = description.body
    task = _TASKS.get((description.method, body.input), _OTHER_TASK)
    yield "---"
    yield f"library_name: {'transformers' if is_stock else 'pretune'}"
    yield f"pipeline_tag: {task}"
    yield "tags:"
    for tag in ("pretune", description.kind, description.method, body.architecture.type):
        yield f"- {tag}"
    if told.model.metrics and told.datasets:
        yield from _model_index(told, task)
    yield "---"
    yield ""


def _model_index(told: Generation, task: str) -> Iterator[str]:
    """What hubs read as results. A string of JSON is one of YAML too."""
    dataset = told.datasets[-1]
    yield "model-index:"
    yield f"- name: {_quoted(_name(told.model))}"
    yield "  results:"
    yield "  - task:"
    yield f"      type: {task}"
    yield "    dataset:"
    yield f"      name: {_quoted(dataset.name)}"
    yield f"      type: {dataset.kind}"
    yield f"      revision: {dataset.sha256}"
    yield "      split: validation"
    yield "    metrics:"
    for name, value in sorted(told.model.metrics.items()):
        yield f"    - type: {name}"
        yield f"      value: {float(value)!r}"


def _facts(model: ModelRow, description: ModelDescription) -> Iterator[str]:
    body = description.body
    yield f"# {_plain(_name(model))}"
    yield ""
    yield f"- Model: `{model.id}`, digest `{model.digest}`"
    yield f"- Method: {description.kind} by `{description.method}`"
    yield f"- Architecture: {body.architecture.type}, {description.num_parameters:,} parameters"
    yield f"- Input: {body.input.value}" + (f" {list(body.input_shape)}" if body.input_shape else "")
    if description.labels is not None:
        yield f"- Labels: {len(description.labels)}"
    yield ""


def _lineage(line: Sequence[Generation]) -> Iterator[str]:
    yield "## Lineage"
    yield ""
    yield "The root first, this model last."
    yield ""
    yield "| model | method | job | data set | examples | SHA-256 of the data |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in line:
        job = f"`{each.job.id}`" if each.job else "imported"
        datasets: Sequence[DatasetRow | None] = each.datasets or [None]
        for dataset in datasets:
            cells = [f"`{each.model.id}`", each.model.method, job, *_cells(dataset)]
            yield f"| {' | '.join(cells)} |"
    yield ""


def _cells(dataset: DatasetRow | None) -> list[str]:
    if dataset is None:
        return ["", "", ""]
    return [f"{_plain(dataset.name)} (`{dataset.id}`)", f"{dataset.num_examples:,}", f"`{dataset.sha256}`"]


def _training(told: Generation) -> Iterator[str]:
    """What was asked for, and what the first attempt decided."""
    if told.job is None:
        return
    yield "## Training"
    yield ""
    for title, content in (("Asked for", told.job.spec), ("Decided when it started", told.job.resolved)):
        if content is not None:
            yield f"{title}:"
            yield ""
            yield from _block(content)


def _block(content: Any) -> Iterator[str]:
    """As JSON, in a fence that nothing in it can close."""
    yield "````json"
    yield json.dumps(content, indent=2, sort_keys=True).replace("````", "\\u0060" * 4)
    yield "````"
    yield ""


def _metrics(model: ModelRow) -> Iterator[str]:
    if not model.metrics:
        return
    yield "## Metrics" + ("" if model.checkpoint_step is None else f" at step {model.checkpoint_step:,}")
    yield ""
    yield "| metric | value |"
    yield "| --- | --- |"
    for name, value in sorted(model.metrics.items()):
        yield f"| {name} | {value:.6g} |"
    yield ""


def _evaluations(evaluated: Sequence[Evaluated]) -> Iterator[str]:
    if not evaluated:
        return
    yield "## Evaluations"
    yield ""
    yield f"Intervals are of {CONFIDENCE} %, by the percentiles of a bootstrap over the units."
    yield ""
    yield "| data set | SHA-256 of the data | units | measure | value | interval |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in evaluated:
        report, dataset = each.report, each.dataset
        for name, found in report.measures.items():
            told = f"{found.value:.6g} | {found.low:.6g} to {found.high:.6g}"
            units = f"{report.num_units:,} {report.unit}s"
            yield f"| {_plain(dataset.name)} (`{dataset.id}`) | `{dataset.sha256}` | {units} | {name} | {told} |"
    yield ""


def _files(*, is_stock: bool) -> Iterator[str]:
    yield "## Files"
    yield ""
    if is_stock:
        yield f"`config.json` and `{WEIGHTS_NAME}` are stock, and load in `transformers`;"
    else:
        yield f"`config.json` and `{WEIGHTS_NAME}` are Pretune's: no stock architecture computes the same;"
    yield f"`{DESCRIPTION_NAME}` is what Pretune reads."


def _name(model: ModelRow) -> str:
    return model.name or model.method.replace("_", " ").capitalize()


def _plain(text: str) -> str:
    """A user's text as one line that Markdown takes for text alone."""
    kept = " ".join(text.split())
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#&!" else character for character in kept)


def _quoted(text: str) -> str:
    return json.dumps(text)
