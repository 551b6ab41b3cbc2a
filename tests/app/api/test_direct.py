"""Questions to models go a shorter way than other calls, past the same checks; and nothing goes by way of a thread that
need not.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from app.contract.scopes import Scope
from app.db.session import Database
from app.main import create_app
from app.services.keys import Keys
from app.settings import Settings
from tests.support.local_client import local_client

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

BODIES: dict[str, dict[str, Any]] = {
    "predict": {"inputs": ["a"]},
    "embed": {"inputs": ["a"]},
    "generate": {"prompt": "a", "stream": True},
}
OPERATIONS = pytest.mark.parametrize("operation", BODIES)


@pytest.fixture
def keys(database: Database) -> dict[Scope, str]:
    return {scope: Keys(database).create(scopes=[scope]).text for scope in (Scope.PREDICT, Scope.READ)}


@pytest.fixture
def client(settings: Settings, keys: dict[Scope, str]) -> Iterator[TestClient]:
    with local_client(create_app(settings)) as client:
        yield client


@OPERATIONS
def test_a_body_in_order_passes_the_same_gate(client: TestClient, keys: dict[Scope, str], operation: str) -> None:
    def asked(headers: dict[str, str]) -> tuple[int, str]:
        answer = client.post(f"/v1/models/none/{operation}", json=BODIES[operation], headers=headers)
        return answer.status_code, answer.json()["code"]

    assert asked({}) == (401, "unauthenticated")
    assert asked({"Authorization": "Bearer pt_wrong"}) == (401, "unauthenticated")
    assert asked({"Authorization": f"Bearer {keys[Scope.READ]}"}) == (403, "insufficient_scope")
    assert asked({"Authorization": f"Bearer {keys[Scope.PREDICT]}"}) == (404, "not_found")
    assert asked({"Cookie": f"pretune_key={keys[Scope.PREDICT]}"}) == (404, "not_found")


@OPERATIONS
@pytest.mark.parametrize("wrong", [{"inptus": ["a"]}, {"parameters": 1}])
def test_a_body_out_of_order_is_told_what_is_wrong(
    client: TestClient, keys: dict[Scope, str], operation: str, wrong: dict[str, Any]
) -> None:
    headers = {"Authorization": f"Bearer {keys[Scope.PREDICT]}"}
    answer = client.post(f"/v1/models/none/{operation}", json=BODIES[operation] | wrong, headers=headers)
    assert answer.status_code == 422
    assert [error["location"] for error in answer.json()["errors"]] == list(wrong)
    unknown = client.post(f"/v1/models/none/{operation}", json=wrong)
    assert unknown.status_code == 401, "who calls is asked before what is wrong is told"


def test_no_dependency_runs_in_a_thread() -> None:
    """What is no coroutine FastAPI hands to a thread, at the price of a small answer."""
    calls = {
        call
        for context in iter_route_contexts(create_app().routes)
        if (dependant := getattr(context, "dependant", None))
        for call in _dependencies(dependant)
    }
    assert len(calls) > 10
    assert [call for call in calls if not _is_asynchronous(call)] == []


def _dependencies(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from _dependencies(each)


def _is_asynchronous(call: Any) -> bool:
    function = call if inspect.isfunction(call) else type(call).__call__
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
