"""Who is let in over HTTP: without keys from this machine alone, with keys by them; and which routes ask for none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from app.db.session import Database
from app.main import create_app
from app.services import authentication
from app.services.keys import CreatedKey, Keys, NotSecured
from app.settings import Settings
from tests.factories import make_dataset
from tests.support.local_client import LOOPBACK
from tests.support.routes import operations

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

OPEN = {"/healthz", "/readyz", "/errors/{code}", "/v1/version"}
#: Open to this machine on loopback, and to any key elsewhere.
OBSERVED = {"/metrics"}
OPERATIONS = [(method, path) for method, path in operations() if path not in OPEN | OBSERVED]


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
def first_key(keys: Keys) -> CreatedKey:
    """Made before the api starts, so that it knows of it from the start."""
    return keys.create()


@contextmanager
def serving(settings: Settings, peer: str = "127.0.0.1", **changes: Any) -> Iterator[TestClient]:
    changed = Settings.model_validate(settings.model_dump() | changes)
    with TestClient(create_app(changed), base_url=LOOPBACK, client=(peer, 50_000)) as client:
        yield client


def bearer(key: CreatedKey | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key if isinstance(key, str) else key.text}"}


def status(client: TestClient, **headers: str) -> int:
    code: int = client.get("/v1/jobs", headers=headers).status_code
    return code


class TestWithoutKeys:
    @pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8080", "[::1]", "[::1]:80", "LOCALHOST"])
    def test_this_machine_is_answered_under_its_own_names(self, client: TestClient, host: str) -> None:
        assert status(client, Host=host) == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.7"),
            *("", "[::1", "localhost@", "evil.example@localhost", "[::1]evil.example", "[localhost", "localhost:80:80"),
        ],
    )
    def test_a_rebound_name_is_refused(self, client: TestClient, host: str) -> None:
        answer = client.get("/v1/jobs", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden_origin")
        assert "PRETUNE_ALLOWED_HOSTS" in answer.json()["detail"]

    def test_a_name_that_the_operator_allows_is_answered(self, settings: Settings) -> None:
        with serving(settings, allowed_hosts=("box.lan",)) as client:
            assert status(client, Host="box.lan:8080") == 200
            assert status(client, Host="evil.lan:8080") == 403

    @pytest.mark.parametrize(
        ("origin", "expected"),
        [
            ("http://127.0.0.1:8080", 200),
            ("http://127.0.0.1:3000", 403),
            ("http://localhost:8080", 403),
            ("https://evil.example", 403),
            ("http://127.0.0.1:8080.evil.example", 403),
            ("null", 403),
            ("", 403),
            ("http://[", 403),
        ],
    )
    def test_pages_of_another_origin_are_refused(
        self, client: TestClient, database: Database, origin: str, expected: int
    ) -> None:
        dataset = make_dataset(database)
        assert status(client, Origin=origin) == expected
        assert client.delete(f"/v1/datasets/{dataset.id}", headers={"Origin": origin}).status_code == (
            204 if expected == 200 else 403
        )

    def test_other_machines_are_refused_wherever_the_server_was_bound(self, settings: Settings) -> None:
        with serving(settings, peer="192.168.1.7") as client:
            answer = client.get("/v1/jobs")
            assert answer.status_code == 401
            assert "pretune keys create" in answer.json()["detail"]

    def test_a_key_that_nobody_asked_for_does_no_harm(self, client: TestClient) -> None:
        assert status(client, **bearer("sk-whatever")) == 200
        assert status(client, Host="evil.example", **bearer("sk-whatever")) == 403

    def test_the_first_key_closes_the_service_within_seconds(
        self, client: TestClient, keys: Keys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert status(client) == 200
        made = keys.create()
        monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
        assert status(client) == 401
        assert status(client, **bearer(made)) == 200
        keys.revoke(made.view.id)
        assert status(client) == 401


class TestWithKeys:
    @pytest.fixture
    def client(self, first_key: CreatedKey, settings: Settings) -> Iterator[TestClient]:
        with serving(settings) as client:
            yield client

    def test_a_key_is_asked_for_and_the_remedy_told(self, client: TestClient) -> None:
        answer = client.get("/v1/jobs")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthenticated"
        assert "pretune keys create" in answer.json()["detail"]

    def test_a_key_opens_from_anywhere(self, first_key: CreatedKey, settings: Settings) -> None:
        with serving(settings, peer="192.168.1.7") as client:
            assert status(client, Host="pretune.example", Origin="https://app.example", **bearer(first_key)) == 200

    def test_what_is_no_key_is_refused_and_never_repeated(self, client: TestClient, first_key: CreatedKey) -> None:
        secret = first_key.text.removeprefix(first_key.view.prefix)
        for wrong in (first_key.text[:-1] + "!", "sk-" + secret, "\xff" * 20, "x" * 4_000):
            answer = client.get("/v1/jobs", headers={b"Authorization": f"Bearer {wrong}".encode("latin-1")})
            assert answer.status_code == 401
            assert secret[:-1] not in answer.text
            assert wrong[3:] not in answer.text

    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", "Token {key}", "{key}", "Bearer  x {key}"]
    )
    def test_what_is_no_bearer_token_is_refused(self, client: TestClient, first_key: CreatedKey, header: str) -> None:
        assert status(client, Authorization=header.format(key=first_key.text)) == 401
        assert status(client, Authorization=f"bearer {first_key.text}") == 200

    def test_a_revoked_key_is_refused_within_seconds(
        self, client: TestClient, keys: Keys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = keys.create()
        assert status(client, **bearer(key)) == 200
        keys.revoke(key.view.id)
        monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
        answer = client.get("/v1/jobs", headers=bearer(key))
        assert answer.status_code == 401
        assert key.view.prefix in answer.json()["detail"]

    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_no_route_answers_without_a_key(self, client: TestClient, method: str, path: str) -> None:
        """However much else is wrong with the call."""
        answer = client.request(method, path)
        assert answer.status_code == 401, answer.text

    def test_the_rest_is_open(self, client: TestClient) -> None:
        for path in ("/healthz", "/v1/version", "/docs", "/openapi.json", "/errors/unauthenticated"):
            assert client.get(path).status_code == 200, path
        assert client.get("/readyz").status_code in {200, 503}


class TestMetrics:
    def test_on_loopback_this_machine_reads_them(self, first_key: CreatedKey, settings: Settings) -> None:
        with serving(settings) as client:
            assert client.get("/metrics").status_code == 200
            assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 403

    def test_elsewhere_they_need_a_key(self, first_key: CreatedKey, settings: Settings) -> None:
        with serving(settings, host="0.0.0.0") as client:  # noqa: S104  nobody listens
            assert client.get("/metrics").status_code == 401
            assert client.get("/metrics", headers=bearer(first_key)).status_code == 200


class TestBeyondLoopback:
    def test_it_does_not_start_without_a_key(self, settings: Settings) -> None:
        with pytest.raises(NotSecured, match="pretune keys create"), serving(settings, host="0.0.0.0"):  # noqa: S104
            pass

    def test_the_bootstrap_key_opens_it(self, settings: Settings) -> None:
        text = "0123456789abcdef" * 4
        with serving(settings, host="0.0.0.0", bootstrap_key=text) as client:  # noqa: S104
            assert status(client) == 401
            assert status(client, Host="localhost") == 401
            assert status(client, **bearer(text)) == 200


def test_fifty_requests_cost_the_database_two_looks(first_key: CreatedKey, settings: Settings) -> None:
    """Whether a key was ever made, and which this is."""
    with serving(settings) as client:
        database: Database = client.app.state.services.database  # type: ignore[attr-defined]
        statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
        for _ in range(50):
            assert client.get("/v1/methods", headers=bearer(first_key)).status_code == 200
    assert len([statement for statement in statements if "FROM api_keys" in statement]) == 2
