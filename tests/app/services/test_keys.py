"""Keys: what is kept of them, who is let in, what keeps a service from starting, how little the database is asked."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta

import pytest
from sqlalchemy import text, update

from app.contract.errors import InvalidRequest, NotFound, Overloaded
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, ApiKeyRow
from app.services import authentication
from app.services.authentication import Authenticator
from app.services.keys import Keys, KeyView, NotSecured, Presented, secure
from app.settings import Settings
from tests.support.threads import together

OPERATORS_KEY = "3f9d0c2b7a6e4d1f8c5b"


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def authenticated(keys: Keys, key: str) -> KeyView | None:
    return keys.authenticate([Presented.of(key)]).get(Presented.of(key))


def change(database: Database, key_id: str, **columns: object) -> None:
    with database.transaction() as session:
        session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(**columns))


def test_a_key_opens_its_project_and_its_text_is_kept_nowhere(keys: Keys, database: Database) -> None:
    view, key = keys.create("team-a", "ci")
    assert authenticated(keys, key) == view
    assert (view.project_id, view.name, view.expires_at) == ("team-a", "ci", None)
    secret = key.removeprefix(f"{view.prefix}_")
    assert len(secret) >= 43
    with database.reading() as session:
        stored = [str(value) for row in session.execute(text("SELECT * FROM api_keys")) for value in row]
    assert view.prefix in stored
    assert not any(secret in value for value in stored)


def test_the_prefix_alone_or_another_secret_opens_nothing(keys: Keys) -> None:
    view, key = keys.create()
    for wrong in (view.prefix, f"{view.prefix}_", key[:-1], key + "x", key.upper(), "", "\0", "é" * 100):
        assert authenticated(keys, wrong) is None


def test_revoked_and_expired_keys_open_nothing(keys: Keys, database: Database) -> None:
    revoked, expiring = keys.create(), keys.create(expires_days=2)
    assert authenticated(keys, expiring.text) is not None
    assert expiring.view.expires_at == expiring.view.created_at + timedelta(days=2)
    first = keys.revoke(revoked.view.id)
    change(database, expiring.view.id, expires_at=first.revoked_at)
    assert authenticated(keys, revoked.text) is None
    assert authenticated(keys, expiring.text) is None
    assert keys.revoke(revoked.view.prefix).revoked_at == first.revoked_at
    assert [view.id for view in keys.list_of()] == [revoked.view.id, expiring.view.id]


def test_several_are_looked_up_at_once_and_none_is_taken_for_another(keys: Keys) -> None:
    one, other = keys.create("one"), keys.create("other")
    mixed = Presented(one.view.prefix, Presented.of(other.text).sha256)
    found = keys.authenticate([Presented.of(one.text), Presented.of(other.text), mixed])
    assert found == {Presented.of(one.text): one.view, Presented.of(other.text): other.view}


def test_keys_are_listed_by_project(keys: Keys) -> None:
    keys.create()
    mine = keys.create("team-a").view
    assert keys.list_of("team-a") == [mine]
    assert len(keys.list_of()) == 2


@pytest.mark.parametrize(
    ("project_id", "name", "days"),
    [
        ("", "ci", None),
        ("../x", "ci", None),
        ("Team", "ci", None),
        ("-a", "ci", None),
        ("a" * 64, "ci", None),
        ("a", "", None),
        ("a", "x" * 201, None),
        ("a", "a\0b", None),
        ("a", "ci", 0),
        ("a", "ci", 10**9),
    ],
)
def test_what_cannot_be_a_key_is_refused_and_leaves_nothing(
    keys: Keys, project_id: str, name: str, days: int | None
) -> None:
    with pytest.raises(InvalidRequest):
        keys.create(project_id, name, days)
    with pytest.raises(InvalidRequest, match="admin, write, read, predict"):
        keys.create(scopes=())
    assert keys.list_of() == []


def test_an_unknown_key_cannot_be_revoked(keys: Keys) -> None:
    with pytest.raises(NotFound, match="pretune keys list"):
        keys.revoke("key_x")


def test_what_is_no_key_revokes_none(keys: Keys, database: Database, settings: Settings) -> None:
    """The operator's own key has a prefix that every foreign text has."""
    secure(database, _with(settings, bootstrap_key=OPERATORS_KEY))
    made = keys.create()
    for wrong in ("ci", OPERATORS_KEY + "x", made.text + "x", f"{made.view.prefix}_x"):
        with pytest.raises(NotFound):
            keys.revoke(wrong)
    assert authenticated(keys, OPERATORS_KEY) is not None
    assert keys.revoke(made.text).id == made.view.id
    assert keys.revoke(OPERATORS_KEY).revoked_at is not None


def test_use_is_remembered_to_the_minute(keys: Keys, database: Database) -> None:
    view, key = keys.create()

    def used() -> KeyView:
        found = authenticated(keys, key)
        assert found is not None
        keys.mark_used([found])
        [listed] = keys.list_of()
        return listed

    first = used().last_used_at
    assert first is not None
    assert used().last_used_at == first
    change(database, view.id, last_used_at=first - timedelta(minutes=2))
    later = used().last_used_at
    assert later is not None
    assert later >= first


class TestSecuring:
    def test_the_bootstrap_key_is_made_once_however_many_start(
        self, keys: Keys, database: Database, settings: Settings
    ) -> None:
        bootstrapped = _with(settings, bootstrap_key=OPERATORS_KEY, host="0.0.0.0")  # noqa: S104  nobody listens
        together(8, lambda: secure(database, bootstrapped))
        [view] = keys.list_of()
        assert view.project_id == DEFAULT_PROJECT_ID
        assert authenticated(keys, OPERATORS_KEY) == view
        assert authenticated(keys, OPERATORS_KEY + "x") is None

    def test_a_bootstrap_key_that_was_revoked_stays_revoked(
        self, keys: Keys, database: Database, settings: Settings
    ) -> None:
        bootstrapped = _with(settings, bootstrap_key=OPERATORS_KEY)
        secure(database, bootstrapped)
        keys.revoke(keys.list_of()[0].id)
        secure(database, bootstrapped)
        assert authenticated(keys, OPERATORS_KEY) is None
        assert len(keys.list_of()) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
    def test_loopback_needs_no_key(self, keys: Keys, database: Database, settings: Settings, host: str) -> None:
        secure(database, _with(settings, host=host))
        assert not keys.any_made()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])  # noqa: S104
    def test_any_other_address_needs_one_that_works(
        self, keys: Keys, database: Database, settings: Settings, host: str
    ) -> None:
        beyond = _with(settings, host=host, bootstrap_key="")
        with pytest.raises(NotSecured, match=r"pretune keys create.*PRETUNE_BOOTSTRAP_KEY"):
            secure(database, beyond)
        made = keys.create().view
        secure(database, beyond)
        keys.revoke(made.id)
        with pytest.raises(NotSecured):
            secure(database, beyond)

    def test_a_short_bootstrap_key_is_refused(self, keys: Keys, database: Database, settings: Settings) -> None:
        with pytest.raises(NotSecured, match="has 6 characters"):
            secure(database, _with(settings, bootstrap_key="secret"))
        assert not keys.any_made()


class CountingKeys(Keys):
    """The looks that were taken, each with how many keys it was for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        object.__setattr__(self, "looks", [])

    looks: list[int]

    def authenticate(self, presented: Collection[Presented]) -> Mapping[Presented, KeyView]:
        self.looks.append(len(presented))
        return super().authenticate(presented)


class TestAuthenticator:
    @pytest.fixture
    def counting(self, database: Database) -> CountingKeys:
        return CountingKeys(database)

    def test_a_key_costs_one_look_until_it_is_no_longer_fresh(
        self, counting: CountingKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, key = counting.create()

        async def use(authenticator: Authenticator) -> None:
            for _ in range(20):
                assert await authenticator.find(key) == view
            assert len(counting.looks) == 1
            counting.revoke(view.id)
            assert await authenticator.find(key) is not None
            monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
            assert await authenticator.find(key) is None

        run(counting, use)

    def test_keys_that_come_together_are_looked_up_together(self, counting: CountingKeys) -> None:
        made = [counting.create() for _ in range(5)]

        async def use(authenticator: Authenticator) -> None:
            found = await asyncio.gather(*(authenticator.find(key.text) for key in made * 3))
            assert found == [key.view for key in made * 3]
            assert counting.looks == [5]

        run(counting, use)

    def test_whoever_tries_keys_makes_the_database_answer_ten_times_a_second_at_most(
        self, counting: CountingKeys
    ) -> None:
        _, key = counting.create()

        async def attack(authenticator: Authenticator, seconds: float) -> int:
            tried, until = 0, asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < until:
                found = await asyncio.gather(*(authenticator.find(f"pt_{tried:012x}_{one}") for one in range(50)))
                assert found == [None] * 50
                tried += 50
            return tried

        async def use(authenticator: Authenticator) -> None:
            attacks = [asyncio.create_task(attack(authenticator, 0.5)) for _ in range(4)]
            await asyncio.sleep(0.05)
            assert await authenticator.find(key) is not None  # who has a key gets through
            assert sum(await asyncio.gather(*attacks)) >= 200
            assert len(counting.looks) <= 8

        run(counting, use)

    def test_more_than_a_thousand_at_once_are_told_to_come_back(self, counting: CountingKeys) -> None:
        async def use(authenticator: Authenticator) -> None:
            tries = (authenticator.find(f"pt_{number:012x}_x") for number in range(1_100))
            answers = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(isinstance(answer, Overloaded) for answer in answers) == 100
            assert await authenticator.find("pt_000000000000_x") is None

        run(counting, use)

    def test_a_failure_of_the_database_is_told_to_all_who_wait_and_forgotten(
        self, counting: CountingKeys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, key = counting.create()

        def fail(_self: object, presented: object) -> None:
            raise ConnectionError("the database is away")

        async def use(authenticator: Authenticator) -> None:
            with monkeypatch.context() as broken:
                broken.setattr(CountingKeys, "authenticate", fail)
                answers = await asyncio.gather(*(authenticator.find(key) for _ in range(3)), return_exceptions=True)
                assert [type(answer) for answer in answers] == [ConnectionError] * 3
            assert await authenticator.find(key) == view

        run(counting, use)

    def test_the_first_key_is_noticed(self, counting: CountingKeys, monkeypatch: pytest.MonkeyPatch) -> None:
        async def use(authenticator: Authenticator) -> None:
            assert not await authenticator.any_made()
            view = counting.create().view
            monkeypatch.setattr(authentication, "FRESH_SECONDS", 0.0)
            assert await authenticator.any_made()
            counting.revoke(view.id)
            assert await authenticator.any_made()

        run(counting, use)


def run(keys: Keys, use: Callable[[Authenticator], Awaitable[None]]) -> None:
    async def main() -> None:
        await use(Authenticator(keys))

    asyncio.run(main())


def _with(settings: Settings, **changes: object) -> Settings:
    return Settings.model_validate(settings.model_dump() | changes)
