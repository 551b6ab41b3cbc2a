"""What a key's scopes open: every route and page, with a key of every scope."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.api.auth import SESSION_COOKIE
from app.contract.scopes import Scope
from app.db.session import Database
from app.main import create_app
from app.services.keys import Keys
from app.settings import Settings
from tests.support.local_client import local_client
from tests.support.routes import operations, pages

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

OPEN = {"/healthz", "/readyz", "/errors/{code}", "/v1/version"}
OPERATIONS = [(method, path) for method, path in operations() if path not in OPEN]
ASKING = ("/predict", "/embed", "/generate", "/completions", "/embeddings")
OPEN_PAGES = {"/login", "/session", "/docs", "/docs/start.js", "/openapi.json"}


def needed(method: str, path: str) -> Scope:
    """The rule, told once more beside what the routes declare."""
    if path.startswith("/v1/keys"):
        return Scope.ADMIN
    if path.endswith(ASKING):
        return Scope.PREDICT
    if method == "GET" and not path.endswith("/secret"):
        return Scope.READ
    return Scope.READ if path == "/v1/jobs/estimate" else Scope.WRITE


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Beyond loopback, where figures need a key too."""
    beyond = settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104  nobody listens
    with local_client(create_app(beyond)) as client:
        yield client


@pytest.fixture(autouse=True)
def keys(database: Database) -> dict[Scope, str]:
    """One of each scope, which stand before the service starts."""
    return {scope: Keys(database).create(scopes=[scope]).text for scope in Scope}


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_opens_what_it_says_and_nothing_else(keys: dict[Scope, str], client: TestClient, scope: Scope) -> None:
    for method, path in OPERATIONS:
        answer = client.request(method, path, headers={"Authorization": f"Bearer {keys[scope]}"})
        opened = scope in {needed(method, path), Scope.ADMIN}
        assert (answer.status_code == 403) is not opened, (method, path, answer.text)
        if not opened:
            assert answer.json()["code"] == "insufficient_scope"
            assert f"this call needs {needed(method, path)}." in answer.json()["detail"], (method, path)


def test_the_schema_tells_the_scope_of_each_route() -> None:
    told = {
        (method.upper(), path): operation.get("security")
        for path, operations in create_app().openapi()["paths"].items()
        for method, operation in operations.items()
        if path not in OPEN
    }
    assert told == {(method, path): [{"HTTPBearer": [needed(method, path)]}] for method, path in OPERATIONS}


def test_scopes_of_a_key_add_up(client: TestClient, database: Database) -> None:
    both = {"Authorization": f"Bearer {Keys(database).create(scopes=[Scope.PREDICT, Scope.READ]).text}"}
    assert client.get("/v1/jobs", headers=both).status_code == 200
    assert client.post("/v1/models/none/predict", json={"inputs": []}, headers=both).status_code == 404
    refused = client.post("/v1/jobs", json={}, headers=both)
    assert refused.status_code == 403
    assert "has the scopes read, predict" in refused.json()["detail"]


def test_pages_are_for_those_who_may_look(keys: dict[Scope, str], client: TestClient) -> None:
    guarded = set(pages()) - OPEN_PAGES
    assert len(guarded) >= 10
    for scope, opens in {Scope.PREDICT: False, Scope.WRITE: False, Scope.READ: True, Scope.ADMIN: True}.items():
        client.cookies.set(SESSION_COOKIE, keys[scope])
        for page in guarded:
            answer = client.get(page, follow_redirects=False)
            assert (answer.status_code != 403) is opens, (scope, page, answer.text)
            assert answer.status_code not in {303, 401}, (scope, page)


def test_a_key_that_may_not_look_gets_no_cookie(keys: dict[Scope, str], client: TestClient) -> None:
    answer = client.post("/session", json={"key": keys[Scope.PREDICT]})
    assert answer.status_code == 403
    assert "needs read" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
    assert client.post("/session", json={"key": keys[Scope.READ]}).status_code == 204
