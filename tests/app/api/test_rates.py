"""How often a project may call: a bucket of tokens, one for each request, and none for those of others."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.api.rates import RateLimited, RateLimiter
from app.contract.scopes import Scope
from app.db.session import Database
from app.main import create_app
from app.services.keys import Keys
from app.settings import REQUESTS_PER_SECOND, Settings
from tests.support.local_client import local_client
from tests.support.routes import operations

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject

#: So slow that nothing is refilled while a test runs, and that one request may come at once.
PER_SECOND = 0.01
OPEN = {"/healthz", "/readyz", "/errors/{code}", "/v1/version", "/metrics"}


class TestRateLimiter:
    @pytest.fixture(autouse=True)
    def limited(self) -> None:
        """Five a second, ten at once, by a clock that stands until it is put on."""
        self.time = 100.0
        self.limiter = RateLimiter(5.0, clock=lambda: self.time)

    def passed(self, asked: int, project_id: str = "one") -> int:
        count = 0
        for _ in range(asked):
            try:
                self.limiter.take(project_id)
            except RateLimited:
                continue
            count += 1
        return count

    def test_a_burst_passes_and_then_the_rate(self) -> None:
        assert self.passed(30) == 10
        self.time += 1.0
        assert self.passed(30) == 5
        self.time += 3_600.0
        assert self.passed(30) == 10

    def test_projects_do_not_take_from_each_other(self) -> None:
        assert self.passed(1_000, "flood") == 10
        assert self.passed(10, "other") == 10

    def test_who_waits_as_told_is_served(self) -> None:
        self.passed(10)
        with pytest.raises(RateLimited) as refused:
            self.limiter.take("one")
        assert refused.value.retry_after_seconds == 1
        self.time += 1
        self.limiter.take("one")

    def test_without_a_rate_nothing_is_limited(self) -> None:
        self.limiter = RateLimiter(None)
        assert self.passed(10_000) == 10_000


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with local_client(create_app(settings.model_copy(update={"requests_per_second": PER_SECOND}))) as client:
        yield client


def test_a_flood_is_refused_and_others_are_served(client: TestClient, database: Database) -> None:
    keys = Keys(database)
    flood, other = ({"Authorization": f"Bearer {keys.create(project).text}"} for project in ("flood", "other"))
    answers = [client.get("/v1/jobs", headers=flood) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] + [429] * 19
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 0 < int(refused.headers["Retry-After"]) <= 1 / PER_SECOND
    for told in ("project flood", "0.01 times a second", "PRETUNE_REQUESTS_PER_SECOND"):
        assert told in refused.json()["detail"]
    assert client.get("/v1/jobs", headers=other).status_code == 200


def test_calls_that_a_key_may_not_make_count_too(client: TestClient, database: Database) -> None:
    asks_only = {"Authorization": f"Bearer {Keys(database).create(scopes=[Scope.PREDICT]).text}"}
    assert [client.get("/v1/jobs", headers=asks_only).status_code for _ in range(3)] == [403, 429, 429]


def test_every_route_costs_one_request(client: TestClient, database: Database) -> None:
    """A project's only one: where a route took two, its first call would be refused."""
    keys = Keys(database)
    for number, (method, path) in enumerate(operations()):
        headers = {"Authorization": f"Bearer {keys.create(f'p{number}').text}"}
        first, second = (client.request(method, path, headers=headers).status_code for _ in range(2))
        assert (first == 429, second == 429) == (False, path not in OPEN), (method, path)


@pytest.mark.parametrize(
    ("host", "given", "resolved"),
    [
        ("127.0.0.1", None, None),
        ("0.0.0.0", None, REQUESTS_PER_SECOND),  # noqa: S104  nobody listens
        ("127.0.0.1", 7.0, 7.0),
        ("0.0.0.0", 7.0, 7.0),  # noqa: S104
    ],
)
def test_beyond_loopback_there_is_always_a_rate(host: str, given: float | None, resolved: float | None) -> None:
    assert Settings(host=host, requests_per_second=given).resolved_requests_per_second == resolved
