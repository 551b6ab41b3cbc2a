"""Specs by chance, out of the JSON Schema that the API publishes of each method; small enough to train at once."""

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from app.services.methods import schema_of

Schema = Mapping[str, Any]

#: How far above its least a number of things goes.
SPREAD = 16
TWO_STEPS = {"steps": 2}

_durations = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 3)}),
    st.fixed_dictionaries({"epochs": st.floats(0.1, 2)}),
    st.fixed_dictionaries({"tokens": st.integers(1, 1_000)}),
)
#: By name, where the whole range would be too large for a test, or would leave few specs whose numbers go together.
_SMALL: Mapping[str, SearchStrategy[Any]] = {
    "duration": st.just(TWO_STEPS),
    **dict.fromkeys(("evaluate_every", "checkpoint_every", "unfreeze_every"), st.none() | _durations),
    "batch_size": st.sampled_from([1, 2, 4, 6]),
    "gradient_accumulation_steps": st.sampled_from([1, 2]),
    "compile": st.sampled_from(["auto", False]),
    "width": st.sampled_from([4, 8, 16]),
    "num_heads": st.sampled_from([1, 2]),
    "num_key_value_heads": st.sampled_from([None, 1, 2]),
    "hidden_widths": st.lists(st.integers(1, SPREAD), min_size=1, max_size=3),
    "channels": st.lists(st.integers(1, 4), min_size=1, max_size=3),
    "seed": st.integers(0, 2**63 - 1),
    "resources": st.just({"device": "cpu"}),
    "metadata": st.just({}),
    "webhook": st.none(),
    "name": st.none(),
}


def specs(kind: str, method: str, dataset: str, parent: str | None) -> SearchStrategy[dict[str, Any]]:
    """Bodies of `POST /v1/jobs` of two steps, of which the schema says that they are valid."""
    given: dict[str, SearchStrategy[Any]] = {
        "dataset": st.just(dataset),
        "validation_dataset": st.sampled_from([None, dataset]),
        "parent": st.just(parent),
        "checkpoint": st.none(),
    }
    schema = schema_of(kind, method)
    return _objects(schema, schema["$defs"], {**given, **_SMALL}, required={"training"})


def _values(schema: Schema, models: Schema, named: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[Any]:
    if reference := schema.get("$ref"):
        return _values(models[reference.rsplit("/", 1)[1]], models, named)
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    if branches := schema.get("oneOf", schema.get("anyOf")):
        return st.one_of([_values(branch, models, named) for branch in branches])
    if schema["type"] == "object":
        return _objects(schema, models, named)
    if schema["type"] == "array":
        return _arrays(schema, models, named)
    return _SCALARS[schema["type"]](schema)


def _arrays(schema: Schema, models: Schema, named: Mapping[str, SearchStrategy[Any]]) -> SearchStrategy[list[Any]]:
    if items := schema.get("prefixItems"):
        return st.tuples(*(_values(item, models, named) for item in items)).map(list)
    least = schema.get("minItems", 0)
    return st.lists(_values(schema["items"], models, named), min_size=least, max_size=least + 2)


def _numbers(schema: Schema) -> SearchStrategy[float]:
    least, most = (schema.get(name, schema.get(f"exclusive{name.capitalize()}")) for name in ("minimum", "maximum"))
    return st.floats(
        least,
        most,
        exclude_min="exclusiveMinimum" in schema,
        exclude_max="exclusiveMaximum" in schema,
        allow_nan=False,
        allow_infinity=False,
    )


def _integers(schema: Schema) -> SearchStrategy[int]:
    least = schema["minimum"]
    return st.integers(least, min(schema.get("maximum", least + SPREAD), least + SPREAD))


_SCALARS: Mapping[str, Callable[[Schema], SearchStrategy[Any]]] = {
    "integer": _integers,
    "number": _numbers,
    "string": lambda _: st.sampled_from(["q_proj", "v_proj", "no such layer"]),  # the names of `targets`
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
}


def _objects(
    schema: Schema,
    models: Schema,
    named: Mapping[str, SearchStrategy[Any]],
    required: frozenset[str] | set[str] = frozenset(),
) -> SearchStrategy[dict[str, Any]]:
    """A field with a default is there or not; the one that tells variants apart always is."""
    fields = {
        name: named[name] if name in named else _values(field, models, named)
        for name, field in schema.get("properties", {}).items()
    }
    needed = {*schema.get("required", ()), *required, "type", "duration", "resources"} & fields.keys()
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: fields[name] for name in fields.keys() - needed},
    )
