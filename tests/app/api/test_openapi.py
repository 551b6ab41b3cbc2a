"""The schema: committed, complete, and true of errors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.main import app
from app.openapi import ROOT, documents


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return app.openapi()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize(("path", "content"), documents().items(), ids=lambda each: getattr(each, "name", ""))
def test_what_is_committed_is_made_of_the_code(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content, "run `make documents` and look at what changes"


def test_the_reference_tells_every_operation_and_its_links_lead_somewhere(schema: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    assert set(re.findall(r"^### `(.*)`$", text, re.MULTILINE)) == {name for name, _ in operations(schema)}
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(references(schema)) <= known
    assert known - set(references(schema)) == set(), "a schema that nobody refers to"


def test_operations_are_named_once_and_described(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(schema)]
    assert sorted(names) == sorted(set(names))
    assert {"create_dataset", "create_job", "predict", "list_job_events"} <= set(names)
    assert [name for name, operation in operations(schema) if not operation.get("description")] == []


def test_every_error_is_a_problem(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        assert "security" not in operation or {"401", "403", "503"} <= set(errors), name
        if " /v1/" in name:
            assert "{" not in name or "404" in errors, name
            assert "requestBody" not in operation or {"400", "413", "415", "422"} <= set(errors), name
        for status, answer in errors.items():
            if name != "GET /readyz":
                assert list(answer["content"]) == ["application/problem+json"], (name, status)


def test_uploads_and_streams_are_told(schema: dict[str, Any]) -> None:
    paths = schema["paths"]
    form = paths["/v1/datasets"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file"]
    for operation in (paths["/v1/jobs/{job_id}/events"]["get"], paths["/v1/models/{model}/generate"]["post"]):
        assert {"application/json", "text/event-stream"} <= set(operation["responses"]["200"]["content"])
    schemas = schema["components"]["schemas"]
    assert schemas["PretrainSpec"]["properties"]["method"]["discriminator"]["propertyName"] == "type"
    assert set(schemas["ProblemBody"]["required"]) >= {"type", "title", "status", "detail", "code", "error"}


def test_every_route_of_the_api_is_in_the_schema(schema: dict[str, Any]) -> None:
    """Pages are for people."""
    assert isinstance(app, FastAPI)
    served = {context.path_format for context in iter_route_contexts(app.routes)}
    told = set(schema["paths"])
    assert told < served
    assert {path for path in served if path is not None and path.startswith("/v1")} <= told
