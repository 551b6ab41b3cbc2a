"""`python -m app.method_table`: writes docs/methods.md, every method and every parent against every fine-tune.

Read off the specs and `app.contract.compatibility`, which judge jobs too: what is added there falls in by itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from app.contract.compatibility import ARCHITECTURE_INPUTS, METHOD_TRAITS, MethodKey, Misfit, misfit
from app.contract.model_folder import BodyDescription, Granularity, InputKind
from app.contract.specs import PretrainSpec
from app.contract.specs.architectures import BertArchitecture, Gpt2Architecture
from app.db.tables import DatasetRow
from app.services.jobs.bodies import pretrained_body
from app.services.methods import METHODS, architectures_of, described
from app.services.models.imports.description import FAMILIES

DOCUMENT_PATH = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
FINE_TUNES = [method for method in METHODS if method[0] == "finetune"]

_INTRODUCTION = """# Methods

What each method learns from, and which fine-tune starts from which parent. Written by `python -m app.method_table`
out of the specs; `GET /v1/methods` tells the same, with every default.
"""
_PARENTS = """## Parents and tasks

A fine-tuned model is a parent like any other: it passes on its body. The forms `gpt2` and `bert` come by import. A pair
that does not fit is refused at once, with 422 and a message that names both sides.
"""
_SHAPE = {"num_layers": 1, "width": 8, "num_heads": 2, "feed_forward_width": 8, "context_length": 32, "dropout": 0.0}
_DETAILS = _SHAPE | {"activation": "gelu", "norm_epsilon": 1e-5}
#: What comes by import alone; what else is imported has a form that pretraining makes too.
_IMPORTED = (
    Gpt2Architecture.model_validate(_DETAILS | {"tie_embeddings": True}),
    BertArchitecture.model_validate(_DETAILS | {"num_token_types": 2}),
)
_REASONS: Mapping[Misfit, str] = {
    Misfit.INPUT: "refused: no data set teaches it on what this parent reads",
    Misfit.GRANULARITY: "refused: it needs a vector for each token, and this parent gives one for an example",
    Misfit.METHOD: "refused: it goes on with a whole model, and takes parents of the methods named above only",
}
_GIVES: Mapping[Granularity, str] = {Granularity.TOKENS: "for each token", Granularity.EXAMPLE: "for an example"}


@dataclass(frozen=True, slots=True)
class Parent:
    """A model that a fine-tune can name: the method that trained it last, and its body; `origin` is its own parent."""

    method: MethodKey
    body: BodyDescription
    origin: Self | None = None

    def misfit(self, fine_tune: MethodKey) -> Misfit | None:
        return misfit(fine_tune, self.body, self.method[1])

    @property
    def kind(self) -> tuple[str, InputKind, str]:
        return self.method[1], self.body.input, self.body.architecture.type

    @property
    def is_imported(self) -> bool:
        return self.origin is None and isinstance(self.body.architecture, Gpt2Architecture | BertArchitecture)

    @property
    def dataset_kind(self) -> str:
        """Of the data that it learns from."""
        return METHOD_TRAITS[self.method].dataset_kinds[self.body.input]


def parents() -> list[Parent]:
    """One of each kind: what pretraining makes or an import brings, then what fine-tuning makes of that."""
    pretrained = [*_pretrained(), *_imported()]
    fine_tuned = [
        Parent(fine_tune, origin.body, origin)
        for fine_tune in FINE_TUNES
        for origin in pretrained
        if origin.misfit(fine_tune) is None
    ]
    found: dict[tuple[str, InputKind, str], Parent] = {}
    for parent in [*pretrained, *fine_tuned]:
        found.setdefault(parent.kind, parent)
    return [*found.values()]


def _pretrained() -> Iterator[Parent]:
    for method, spec in METHODS.items():
        if method[0] != "pretrain":
            continue
        for architecture in architectures_of(spec):
            name = architecture.model_fields["type"].default
            for read, dataset_kind in METHOD_TRAITS[method].dataset_kinds.items():
                if read in ARCHITECTURE_INPUTS[name]:
                    yield Parent(method, _body(method, name, dataset_kind))


def _imported() -> Iterator[Parent]:
    for architecture in _IMPORTED:
        body = BodyDescription(
            architecture=architecture,
            input=InputKind.TEXT,
            granularity=Granularity.TOKENS,
            vocab_size=300,
            bidirectional=isinstance(architecture, BertArchitecture),
        )
        yield Parent(("pretrain", FAMILIES[architecture.type].method), body)


def _body(method: MethodKey, architecture: str, dataset_kind: str) -> BodyDescription:
    kind, type_ = method
    job = {"kind": kind, "dataset": f"ds_{'0' * 32}", "method": {"type": type_, "architecture": {"type": architecture}}}
    return pretrained_body(PretrainSpec.model_validate(job), DatasetRow(kind=dataset_kind, profile={}))


def rendered() -> str:
    sections = [_INTRODUCTION, "## Pretraining\n", _pretrainings(), "## Fine-tuning\n", _fine_tunings(), _PARENTS]
    return "\n".join([*sections, *_pairs()])


def _pretrainings() -> str:
    rows = [
        [
            f"`{method[1]}`",
            ", ".join(each.model_fields["type"].default for each in architectures_of(spec)),
            _dataset_kinds(method),
            described(spec),
        ]
        for method, spec in METHODS.items()
        if method[0] == "pretrain"
    ]
    return _table(["method", "architectures", "data set", ""], rows)


def _fine_tunings() -> str:
    rows = [
        [f"`{method[1]}`", _dataset_kinds(method), _parents_taken(method), described(METHODS[method])]
        for method in FINE_TUNES
    ]
    return _table(["method", "data set", "parents", ""], rows)


def _dataset_kinds(method: MethodKey) -> str:
    return ", ".join(f"`{kind}`" for kind in METHOD_TRAITS[method].dataset_kinds.values())


def _parents_taken(method: MethodKey) -> str:
    traits = METHOD_TRAITS[method]
    if traits.parent_methods is not None:
        return ", ".join(f"`{name}`" for name in sorted(traits.parent_methods))
    reads = ", ".join(read.value for read in traits.dataset_kinds)
    if traits.granularities == frozenset(Granularity):
        return f"all that read {reads}"
    return f"all that read {reads} and give a vector {' or '.join(_GIVES[each] for each in traits.granularities)}"


def _pairs() -> Iterator[str]:
    """The table, with a row for all parents of one method and input that fit the same; then what its marks mean."""
    rows: dict[tuple[str, str, tuple[Misfit | None, ...]], list[str]] = {}
    for parent in parents():
        misfits = tuple(parent.misfit(fine_tune) for fine_tune in FINE_TUNES)
        name, read, architecture = parent.kind
        rows.setdefault((name, read, misfits), []).append(architecture)
    met = {misfit for _, _, misfits in rows for misfit in misfits}
    marks = dict(zip([each for each in Misfit if each in met], "abc", strict=False))
    header = ["parent", "reads", "architecture", *(f"`{method}`" for _, method in FINE_TUNES)]
    yield _table(
        header,
        (
            [f"`{name}`", read, ", ".join(shapes), *("yes" if each is None else marks[each] for each in misfits)]
            for (name, read, misfits), shapes in rows.items()
        ),
    )
    yield "".join(f"- {mark}: {_REASONS[found]}\n" for found, mark in marks.items())


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    DOCUMENT_PATH.write_text(rendered(), encoding="utf-8")
