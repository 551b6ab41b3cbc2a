"""docs/api.md: the API for people, made of its schema. Knows nothing of the service but that."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_INTRODUCTION = """# The HTTP API

Written by `make documents` out of [openapi.json](../openapi.json). A running service has it at `/openapi.json`, and at
`/docs` to try out. In words: the [README](../README.md) and the [index](README.md).

**Keys.** Where the service asks for keys, every call has `Authorization: Bearer KEY`; each below names the scope that
it needs. **Errors** are problems with a stable `code`: [errors.md](errors.md). **Lists** have `data` and
`next_cursor`, which goes into `cursor` for the next page. **Creations** take an `Idempotency-Key`: sent again with the
same body, the first answer comes again. **Times** are RFC 3339 in UTC.
"""
#: In the order in which one needs them.
_TITLES = {
    "datasets": "Data sets",
    "jobs": "Jobs",
    "methods": "Methods",
    "models": "Models",
    "inference": "Asking models",
    "webhooks": "Webhooks",
    "keys": "Keys and quotas",
    "service": "The service",
    "openai": "As OpenAI's API",
}
_JSON, _FORM = "application/json", "multipart/form-data"
_REF = "#/components/schemas/"


def rendered(schema: Schema) -> str:
    return "\n".join([_INTRODUCTION, *_operations(schema), "## Schemas\n", *_schemas(schema)])


def _operations(schema: Schema) -> Iterator[str]:
    tags = dict.fromkeys([*_TITLES, *(tag for _, _, each in _all(schema) for tag in each["tags"])])
    for tag in tags:
        yield f"## {_TITLES.get(tag, tag.capitalize())}\n"
        yield from (_operation(method, path, each) for method, path, each in _all(schema) if tag in each["tags"])


def _all(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def _operation(method: str, path: str, operation: Schema) -> str:
    parts = [f"### `{method} {path}`\n", f"{_in_line(operation['description'])}{_scope(operation)}\n"]
    named = [each for each in operation.get("parameters", []) if each["in"] != "path"]
    if named:
        rows = [[f"`{each['name']}`", _type(each["schema"]), _default(each), _told(each)] for each in named]
        parts.append(_table(["parameter", "", "default", ""], rows))
    if "requestBody" in operation:
        parts.append(f"Body: {_content(operation['requestBody'])}\n")
    parts.append(f"Answers: {_answers(operation)}\n")
    return "\n".join(parts)


def _scope(operation: Schema) -> str:
    scopes = [scope for each in operation.get("security", []) for needed in each.values() for scope in needed]
    return f" Scope: `{scopes[0]}`." if scopes else ""


def _answers(operation: Schema) -> str:
    good = [f"{status} {_content(told)}" for status, told in operation["responses"].items() if status < "400"]
    bad = [status for status in operation["responses"] if status >= "400"]
    return "; ".join([*(each.strip() for each in good), *([f"errors {', '.join(bad)}"] if bad else [])])


def _content(told: Schema) -> str:
    return ", or ".join(_body(kind, each.get("schema", {})) for kind, each in told.get("content", {}).items())


def _body(kind: str, of: Schema) -> str:
    """What is no JSON is named by its media type, a form by its fields too."""
    return {_JSON: _type(of), _FORM: f"`{_FORM}` of {_type(of)}"}.get(kind, f"`{kind}`")


def _schemas(schema: Schema) -> Iterator[str]:
    for name, each in sorted(schema["components"]["schemas"].items()):
        parts = [f"### {name}\n"]
        if "description" in each:
            parts.append(f"{_in_line(each['description'])}\n")
        if "properties" in each:
            rows = [
                [f"`{field}`", _type(of), _default(of, required=field in each.get("required", ())), _told(of)]
                for field, of in each["properties"].items()
            ]
            parts.append(_table(["field", "", "default", ""], rows))
        elif "enum" in each:
            parts.append(f"{_type(each)}\n")
        yield "\n".join(parts)


def _type(of: Schema) -> str:
    for key in ("anyOf", "oneOf", "allOf"):
        if key in of:
            return " or ".join(dict.fromkeys(_type(each) for each in of[key]))
    if "$ref" in of:
        name = of["$ref"].removeprefix(_REF)
        return f"[{name}](#{name.lower()})"
    if values := of.get("enum", [of["const"]] if "const" in of else []):
        return " or ".join(f"`{value}`" for value in values)
    return _plain_type(of)


def _plain_type(of: Schema) -> str:
    match of:
        case {"type": "array", "prefixItems": items}:
            told = f"[{', '.join(_type(each) for each in items)}]"
        case {"type": "array"}:
            told = f"list of {_type(of.get('items', {}))}"
        case {"type": "object", "properties": fields}:
            told = "; ".join(f"`{name}`: {_type(each)}" for name, each in fields.items())
        case {"type": "object", "additionalProperties": dict(values)}:
            told = f"map to {_type(values)}"
        case {"type": "string", "format": form}:
            told = {"date-time": "time", "binary": "file"}.get(str(form), str(form))
        case _:
            told = f"{of.get('type', 'any')}{_bounds(of)}"
    return told


_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _bounds(of: Schema) -> str:
    told = " and ".join(f"{sign} {of[bound]:,.12g}" for bound, sign in _BOUNDS.items() if bound in of)
    return f" {told}" if told else ""


def _default(of: Schema, *, required: bool = False) -> str:
    """Of a field, or of a parameter, which tells of itself whether it must be given."""
    if required or of.get("required") is True:
        return "required"
    default = of.get("schema", of).get("default")
    return f"`{json.dumps(default)}`" if default or default in (0, False) else ""


def _told(of: Schema) -> str:
    return _in_line(of.get("description", ""))


def _in_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *rows))
