"""`pretune models`, what they are judged by, and the commands that ask one: `predict`, `embed`, `generate`."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import AlwaysJson, AsJson, Key, ModelRef, Url, Yes
from app.cli.output import WRONG, age, connected, console, count, facts, fail, listing, print_json, print_view, size
from app.cli.specs import parsed
from app.contract.evaluations import p_words

if TYPE_CHECKING:
    from pretune.views import EvaluationSummary, EvaluationView, Figure

registry = typer.Typer(help="Finished models.", no_args_is_help=True)
commands = typer.Typer()

#: A request holds so many inputs.
INPUTS_A_REQUEST = 100

Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", help="Texts; or JSON, where the model takes something else."),
]
InputFile = Annotated[
    typer.FileText | None,
    typer.Option("--file", "-f", help="An input a line: JSON (jsonl), or a text; - for stdin."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="As in top_k=3; once or several times."),
]


@registry.command("list")
def list_models(
    *,
    method: Annotated[str | None, typer.Option(help="As in classification.")] = None,
    name: Annotated[str | None, typer.Option(help="Of this name.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """The models, the newest first."""
    with connected(url, key) as client:
        found = list(islice(client.models.list(method=method, name=name, page_size=min(limit, 200)), limit))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        (
            each.id,
            each.name or "",
            each.method,
            ", ".join(each.aliases),
            count(each.num_parameters),
            size(each.size_bytes),
            age(each.created_at),
        )
        for each in found
    ]
    console().print(listing(("model", "name", "method", "aliases", "parameters", "size", "created"), rows))


@registry.command("show")
def show(
    model: ModelRef,
    url: Url = None,
    key: Key = None,
    as_json: AlwaysJson = True,  # noqa: ARG001  it has no other form
) -> None:
    """Everything about a model, as JSON."""
    with connected(url, key) as client:
        print_view(client.models.get(model))


@registry.command("alias")
def alias(
    model: ModelRef,
    name: Annotated[str, typer.Argument(help="A name that can move.")],
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the name away instead.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let a name mean this model from now on."""
    with connected(url, key) as client:
        found = client.models.get(model)
        found.remove_alias(name) if remove else found.set_alias(name)
        told = f"{name} means nothing now." if remove else f"{name} means {found.id}."
        print_view(found.refresh()) if as_json else typer.echo(told)


@registry.command("download")
def download(
    model: ModelRef,
    to: Annotated[Path | None, typer.Option(help="The file to write (MODEL.zip).")] = None,
    *,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """The folder as a zip, which Hugging Face's tools load once unpacked."""
    with connected(url, key) as client:
        path = client.models.get(model).download(to)
    print_json({"path": path}) if as_json else typer.echo(path)


@registry.command("import")
def import_model(
    archive: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A zip of a stock folder.")],
    *,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    alias: Annotated[str | None, typer.Option(help="A name that can move.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Upload a Llama, GPT-2 or BERT as a model that fine-tunes may name as their parent."""
    from app.cli.progress import upload_progress

    with connected(url, key) as client, upload_progress(archive.name) as told:
        model = client.models.upload(archive, name=name, alias=alias, on_progress=told)
    print_view(model) if as_json else typer.echo(model.id)


@registry.command("load")
def load(model: ModelRef, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Bring a model into the memory of the replica that would answer for it."""
    with connected(url, key) as client:
        loaded = client.models.get(model).load()
    told = f"{loaded.model_id} is on {loaded.replica_id}, after {loaded.load_seconds:.2f} s, in {loaded.precision}."
    print_view(loaded) if as_json else typer.echo(told)


@registry.command("unload")
def unload(model: ModelRef, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Out of the memory of every replica. It comes back with the next question."""
    with connected(url, key) as client:
        unloaded = client.models.get(model).unload()
    print_view(unloaded) if as_json else typer.echo(f"{unloaded.model_id} is on no replica.")


@registry.command("pin")
def pin(
    model: ModelRef,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Let it go where room is wanted.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Keep a model in memory, also over restarts."""
    with connected(url, key) as client:
        found = client.models.get(model)
        found.unpin() if remove else found.pin()
        told = f"{found.id} is {'no longer ' if remove else ''}pinned."
        print_view(found.refresh()) if as_json else typer.echo(told)


@registry.command("evaluate")
def evaluate(
    model: ModelRef,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The data set's id.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Of what is resampled, hidden or drawn.")] = 0,
    resamples: Annotated[int, typer.Option(min=100, max=10_000, help="Of the units, for the intervals.")] = 1_000,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for it.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model by a data set: the measures of its method, with 95 % intervals. Ctrl-C stops the watching alone."""
    from app.cli.following import followed

    with connected(url, key) as client:
        job = client.models.evaluate(model, dataset, seed=seed, resamples=resamples)
        if detach:
            print_view(job) if as_json else typer.echo(job.id)
            return
        found = followed(job).evaluation()
    print_view(found) if as_json else _tell(found)


@registry.command("evaluations")
def evaluations(
    model: ModelRef,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """What evaluations of a model found, the newest first."""
    with connected(url, key) as client:
        found = list(islice(client.evaluations.list(model, page_size=min(limit, 200)), limit))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    rows = [
        (each.id, each.dataset_id, f"{each.num_units:,} {each.unit}s", _first_measure(each), age(each.created_at))
        for each in found
    ]
    console().print(listing(("evaluation", "data", "units", "found", "made"), rows))


@registry.command("evaluation")
def evaluation(
    evaluation: Annotated[str, typer.Argument(metavar="EVALUATION", help="The evaluation's id.")],
    *,
    units: Annotated[Path | None, typer.Option(help="Download what each unit adds into this .npz file.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """All that an evaluation found."""
    with connected(url, key) as client:
        if units is not None:
            typer.echo(client.evaluations.download(evaluation, units))
            return
        found = client.evaluations.get(evaluation)
    print_view(found) if as_json else _tell(found)


@registry.command("compare")
def compare(
    first: Annotated[str, typer.Argument(metavar="EVALUATION", help="An evaluation's id.")],
    second: Annotated[str, typer.Argument(metavar="OTHER", help="Another's, on the same data.")],
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Which of two models is better on the same data, and whether chance explains it."""
    with connected(url, key) as client:
        found = client.evaluations.compare(first, second)
    if as_json:
        print_view(found)
        return
    rows = [
        (
            name,
            f"{each.first:.4g}",
            f"{each.second:.4g}",
            _interval(each.difference),
            p_words(each.p_value).removeprefix("= "),
            each.better or "",
        )
        for name, each in found.measures.items()
    ]
    console().print(listing(("measure", "first", "second", "difference", "p", "better"), rows))
    _remark([found.finding, *found.warnings])


@registry.command("delete")
def delete(model: ModelRef, *, yes: Yes = False, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Take a model away, after telling what that frees."""
    from app.cli.deletion import delete as delete_with_care

    with connected(url, key) as client:
        delete_with_care(client.models.get(model), yes=yes, as_json=as_json)


@commands.command()
def predict(
    model: ModelRef,
    inputs: Inputs = None,
    *,
    file: InputFile = None,
    parameters: Parameters = None,
    url: Url = None,
    key: Key = None,
    as_json: AlwaysJson = True,  # noqa: ARG001  it has no other form
) -> None:
    """Ask a model: one line of JSON for each input."""
    with connected(url, key) as client:
        for some in _requests(inputs, file):
            for output in client.models.predict(model, some, **_named(parameters)):
                typer.echo(json.dumps(output, ensure_ascii=False))


@commands.command()
def embed(
    model: ModelRef,
    inputs: Inputs = None,
    *,
    file: InputFile = None,
    url: Url = None,
    key: Key = None,
    as_json: AlwaysJson = True,  # noqa: ARG001  it has no other form
) -> None:
    """One vector for each input: a line of JSON each."""
    with connected(url, key) as client:
        for some in _requests(inputs, file):
            for vector in client.models.embed(model, some):
                typer.echo(json.dumps(vector))


@commands.command()
def generate(
    model: ModelRef,
    prompt: Annotated[str, typer.Argument(help="The text to continue; - for stdin.")],
    *,
    chat: Annotated[bool, typer.Option("--chat", help="A question to answer, rather than a text to continue.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="At most so many.")] = 128,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 takes the likeliest token.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same one gives the same text.")] = None,
    parameters: Parameters = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let a language model write, and show it as it comes. Ctrl-C stops it."""
    text = sys.stdin.read() if prompt == "-" else prompt
    asked: Any = [{"role": "user", "content": text}] if chat else text
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed} | _named(parameters)
    with connected(url, key) as client:
        if as_json:
            print_view(client.models.generate(model, asked, **given))
            return
        with closing(client.models.stream(model, asked, **given)) as pieces:
            for piece in pieces:
                typer.echo(piece, nl=False)
        typer.echo()


def _requests(inputs: list[str] | None, file: typer.FileText | None) -> Iterator[list[Any]]:
    if bool(inputs) == bool(file):
        fail("Give inputs as arguments, or a file with -f: one of both.", WRONG)
    lines = (line.rstrip("\n") for line in file) if file else iter(inputs or [])
    values = (_input(line) for line in lines if line)
    while some := list(islice(values, INPUTS_A_REQUEST)):
        yield some


def _input(given: str) -> Any:
    """JSON where it is an object, a list or a string in quotes; else the text as it stands."""
    if given[:1] not in '{["':
        return given
    try:
        return json.loads(given)
    except ValueError:
        return given


def _named(parameters: list[str] | None) -> dict[str, Any]:
    named = {}
    for each in parameters or []:
        name, equals, value = each.partition("=")
        if not (name and equals):
            fail(f"--parameter {each!r} is no NAME=VALUE, as in top_k=3.", WRONG)
        named[name] = parsed(value, f"--parameter {each!r}")
    return named


def _tell(found: "EvaluationView") -> None:
    report = found.report
    told = {
        "evaluation": found.id,
        "model": found.model_id,
        "data": found.dataset_id,
        "units": f"{report.num_units:,} {report.unit}s",
    }
    console().print(facts(told | {name: _interval(each) for name, each in report.measures.items()}))
    if report.labels:
        rows = [
            (
                str(each.label),
                _interval(each.precision),
                _interval(each.recall),
                _interval(each.f1),
                f"{each.support:,}",
                f"{each.told:,}",
            )
            for each in report.labels
        ]
        console().print(listing(("label", "precision", "recall", "f1", "support", "told"), rows))
    _remark(report.warnings)


def _interval(figure: "Figure") -> str:
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"


def _first_measure(found: "EvaluationSummary") -> str:
    name, figure = next(iter(found.measures.items()))
    return f"{name} {_interval(figure)}"


def _remark(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        typer.echo(sentence)
