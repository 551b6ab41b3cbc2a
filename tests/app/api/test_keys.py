"""`/v1/keys`: admins make, see and revoke the keys of their project; a key's text is told once and kept nowhere."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.contract.scopes import Scope
from app.db.session import Database
from app.services import authentication
from app.services.keys import Keys

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject


@pytest.fixture
def admin(client: TestClient, database: Database) -> dict[str, str]:
    return bearer(Keys(database).create("team-a").text)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def create(client: TestClient, admin: Mapping[str, str], **body: Any) -> httpx2.Response:
    answer = client.post("/v1/keys", json={"scopes": ["read"]} | body, headers=dict(admin))
    assert answer.status_code == 201, answer.text
    return answer


def test_a_key_opens_its_admins_project_as_far_as_its_scopes_go(client: TestClient, admin: dict[str, str]) -> None:
    answer = create(client, admin, name="ci", scopes=["predict", "read"], expires_days=7)
    made = answer.json()
    assert made["key"].startswith(made["prefix"])
    assert (made["name"], made["scopes"], made["project_id"]) == ("ci", ["read", "predict"], "team-a")
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200
    assert client.post("/v1/jobs", json={}, headers=bearer(made["key"])).status_code == 403
    seen = client.get(answer.headers["Location"], headers=admin).json()
    assert seen == {name: value for name, value in made.items() if name != "key"} | {
        "last_used_at": seen["last_used_at"]
    }


def test_keys_are_listed_in_pages_the_newest_first(client: TestClient, admin: dict[str, str]) -> None:
    made = [create(client, admin, name=name).json()["id"] for name in ("one", "two", "three")]
    first = client.get("/v1/keys?limit=2", headers=admin).json()
    rest = client.get(f"/v1/keys?cursor={first['next_cursor']}", headers=admin).json()
    assert [key["id"] for key in first["data"] + rest["data"]][:3] == made[::-1]
    assert (len(rest["data"]), rest["next_cursor"]) == (2, None)
    assert "sha256" not in str(first)


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(
    client: TestClient, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = create(client, admin).json()
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200
    for _ in range(2):
        assert client.delete(f"/v1/keys/{made['id']}", headers=admin).status_code == 204
    monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 401
    assert client.get(f"/v1/keys/{made['id']}", headers=admin).json()["revoked_at"] is not None


def test_keys_of_another_project_are_not_there(client: TestClient, admin: dict[str, str], database: Database) -> None:
    other = Keys(database).create("team-b").view.id
    for method in ("GET", "DELETE"):
        answer = client.request(method, f"/v1/keys/{other}", headers=admin)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert other not in client.get("/v1/keys", headers=admin).text
    assert Keys(database).get("team-b", other).revoked_at is None


def test_a_repetition_makes_no_second_key_and_is_not_told_the_text(
    client: TestClient, admin: dict[str, str], database: Database
) -> None:
    """The answer to an idempotency key is kept in the database, where no usable key may be."""
    headers = admin | {"Idempotency-Key": "once"}
    first, again = create(client, headers), create(client, headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json() | {"key": None}
    assert len(client.get("/v1/keys", headers=admin).json()["data"]) == 2
    with database.reading() as session:
        stored = str(session.execute(text("SELECT * FROM idempotency_keys")).all())
    assert first.json()["id"] in stored
    assert first.json()["key"] not in stored


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": "read"}, "scopes"),
        ({"scopes": ["read"], "name": ""}, "name"),
        ({"scopes": ["read"], "name": "a\nb"}, "name"),
        ({"scopes": ["read"], "name": "x" * 201}, "name"),
        ({"scopes": ["read"], "expires_days": 0}, "expires_days"),
        ({"scopes": ["read"], "project_id": "team-b"}, "project_id"),
    ],
)
def test_what_cannot_be_a_key_is_refused_by_its_place(
    client: TestClient, admin: dict[str, str], body: dict[str, Any], location: str
) -> None:
    answer = client.post("/v1/keys", json=body, headers=admin)
    assert answer.status_code == 422
    assert [error["location"] for error in answer.json()["errors"]] == [location]
    assert len(client.get("/v1/keys", headers=admin).json()["data"]) == 1


def test_the_first_key_can_be_made_over_http_on_loopback(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made = create(client, {}, scopes=[Scope.ADMIN]).json()
    assert made["project_id"] == "default"
    monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
    assert client.get("/v1/jobs").status_code == 401
    assert client.get("/v1/jobs", headers=bearer(made["key"])).status_code == 200
