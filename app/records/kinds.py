"""Which kind a file holds, by its columns. Knows the fields of each kind and which file types carry it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.records.problems import listed, refusal
from app.records.types import Columns, DatasetKind

K = DatasetKind
TABLES = (".csv", ".jsonl", ".parquet")
TYPED_TABLES = (".jsonl", ".parquet")
VECTORS = frozenset({K.VECTORS, K.LABELED_VECTORS, K.SCORED_VECTORS})

FILE_TYPES: Mapping[DatasetKind, Sequence[str]] = {
    K.TEXT: (".txt", *TABLES),
    K.LABELED_TEXT: TABLES,
    K.SCORED_TEXT: TABLES,
    K.TAGGED_TOKENS: (*TYPED_TABLES, ".conll", ".conllu"),
    K.SEMANTIC_ROLES: TYPED_TABLES,
    K.INSTRUCTIONS: TYPED_TABLES,
    K.VECTORS: (*TABLES, ".npz"),
    K.LABELED_VECTORS: (*TABLES, ".npz"),
    K.SCORED_VECTORS: (*TABLES, ".npz"),
    K.IMAGES: (".npz", ".zip"),
    K.LABELED_IMAGES: (".npz", ".zip"),
}

FIELDS: Mapping[DatasetKind, Sequence[str]] = {
    K.TEXT: ("text",),
    K.LABELED_TEXT: ("text", "label"),
    K.SCORED_TEXT: ("text", "target"),
    K.TAGGED_TOKENS: ("tokens", "tags"),
    K.SEMANTIC_ROLES: ("tokens", "predicate", "roles"),
    K.INSTRUCTIONS: ("prompt", "completion"),
    K.VECTORS: ("features",),
    K.LABELED_VECTORS: ("features", "label"),
    K.SCORED_VECTORS: ("features", "target"),
    K.IMAGES: ("images",),
    K.LABELED_IMAGES: ("images", "label"),
}
#: The other form of an instruction.
CONVERSATION_FIELDS = ("messages",)
ALL_FIELDS = frozenset(field for fields in (*FIELDS.values(), CONVERSATION_FIELDS) for field in fields)


def parse_kind(kind: str | None, suffix: str) -> DatasetKind | None:
    """The kind asked for, if the file type can carry it."""
    if kind is None:
        return None
    if kind not in set(DatasetKind):
        raise refusal("kind", f"{kind!r} is no kind of data set; there are {listed(sorted(DatasetKind))}.")
    asked = DatasetKind(kind)
    if suffix not in FILE_TYPES[asked]:
        raise refusal("kind", f"A {asked} data set comes as {' or '.join(FILE_TYPES[asked])}, not as {suffix}.")
    return asked


def resolve_columns(columns: Columns | None, there: Collection[str]) -> dict[str, str]:
    """The file's column of each of our fields that it has. A mapping that names what is not there is refused."""
    mapping = dict(columns or {})
    for ours, theirs in mapping.items():
        if ours not in ALL_FIELDS:
            raise refusal(
                f"columns.{ours[:60]}", f"There is no such field; the fields are {listed(sorted(ALL_FIELDS))}."
            )
        if theirs not in there:
            raise refusal(f"columns.{ours}", f"The file has no column {theirs!r}; it has {listed(there)}.")
    taken = set(mapping.values())
    unmapped = {ours: ours for ours in ALL_FIELDS if ours not in mapping and ours in there and ours not in taken}
    return mapping | unmapped


def infer_kind(fields: Collection[str], has_features: bool, there: Collection[str]) -> DatasetKind:
    """The one kind that these fields leave no doubt about; refused naming the candidates otherwise."""
    candidates = _candidates(set(fields), has_features)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise refusal("kind", f"The file could be any of {listed(map(str, candidates))}: say which in `kind`.")
    raise refusal(
        "kind",
        f"The file's columns tell no kind of data set; it has {listed(there)}. Map them in `columns`, such as "
        '{"text": "review", "label": "stars"}, and say the `kind`.',
    )


def _candidates(fields: set[str], has_features: bool) -> list[DatasetKind]:
    if "text" in fields:
        return _with_answer(fields, K.TEXT, K.LABELED_TEXT, K.SCORED_TEXT)
    found = [kind for kind in (K.TAGGED_TOKENS, K.SEMANTIC_ROLES, K.INSTRUCTIONS) if fields >= set(FIELDS[kind])]
    if "messages" in fields and K.INSTRUCTIONS not in found:
        found.append(K.INSTRUCTIONS)
    if "images" in fields:
        found += [K.LABELED_IMAGES if "label" in fields else K.IMAGES]
    if "features" in fields or (has_features and not found):
        found += _with_answer(fields, K.VECTORS, K.LABELED_VECTORS, K.SCORED_VECTORS)
    return found


def _with_answer(fields: set[str], plain: DatasetKind, labeled: DatasetKind, scored: DatasetKind) -> list[DatasetKind]:
    answered = [kind for field, kind in (("label", labeled), ("target", scored)) if field in fields]
    return answered or [plain]


def fields_of(kind: DatasetKind, there: Mapping[str, Any]) -> Sequence[str]:
    """The fields that a kind reads, given those that the file has."""
    if kind is K.INSTRUCTIONS and "messages" in there:
        return CONVERSATION_FIELDS
    return FIELDS[kind]
