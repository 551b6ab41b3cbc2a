"""The schema that migrations make is the schema that the rows need, on both databases."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from app.db.migrate import UnknownSchema, newest_revision, upgrade
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, ProjectRow, Row
from tests.support.postgres import PostgresServer


def test_migrations_leave_no_difference_to_the_rows(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Row.metadata) == []
        assert context.get_current_revision() == newest_revision()


def test_the_project_of_those_without_keys_is_there(database: Database) -> None:
    with database.reading() as session:
        project = session.get_one(ProjectRow, DEFAULT_PROJECT_ID)
        assert project.created_at.tzinfo is not None


def test_upgrading_again_changes_nothing(database: Database) -> None:
    upgrade(database.engine.url.render_as_string(hide_password=False))
    with database.reading() as session:
        assert session.query(ProjectRow).count() == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.new_database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


def test_of_several_processes_that_migrate_at_once_one_does(empty_url: str) -> None:
    code = f"from app.db.migrate import upgrade; upgrade({empty_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    database = Database(empty_url)
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) >= set(Row.metadata.tables)
    database.dispose()


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnknownSchema, match="9999"):
        upgrade(database.engine.url.render_as_string(hide_password=False))
    with database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
